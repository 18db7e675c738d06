"""Use it from asyncio: heavy calls run elsewhere while the event loop goes on."""

from __future__ import annotations

import asyncio

from ascend import AscendExecutor


def largest_prime_below(limit: int) -> int:
    if limit < 3:
        raise ValueError(f"no prime is below {limit}")
    candidate = limit - 1
    while any(candidate % divisor == 0 for divisor in range(2, int(candidate**0.5) + 1)):
        candidate -= 1
    return candidate


async def main() -> None:
    loop = asyncio.get_running_loop()
    limits = [10**exponent for exponent in range(6, 10)]
    with AscendExecutor(timeout=120) as executor:
        calls = [loop.run_in_executor(executor, largest_prime_below, limit) for limit in limits]
        beats = 0
        while not all(call.done() for call in calls):
            await asyncio.sleep(0.01)
            beats += 1
        primes = await asyncio.gather(*calls)

        try:
            await asyncio.wrap_future(executor.submit(largest_prime_below, 2))
        except ValueError as error:
            print("as it would here:", error)
    for limit, prime in zip(limits, primes, strict=True):
        print(f"{prime} is the largest prime below {limit}")
    print("the loop went on:", beats > 0)


if __name__ == "__main__":
    asyncio.run(main())
