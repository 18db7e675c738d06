FROM registry.example/python:3.12-slim@sha256:0000000000000000000000000000000000000000000000000000000000000000
USER root
COPY .ascend-requirements.txt /usr/local/share/ascend/requirements.txt
RUN python -c "import sys; sys.exit(None if sys.version_info[:2] == (3, 12) else 'the image has Python %d.%d, and the task needs 3.12' % sys.version_info[:2])" \
    && uv pip install --system --break-system-packages --compile-bytecode --no-cache --index-strategy=unsafe-best-match --no-deps --require-hashes --requirement /usr/local/share/ascend/requirements.txt
