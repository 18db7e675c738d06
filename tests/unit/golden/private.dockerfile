FROM registry.example/python:3.12-slim@sha256:0000000000000000000000000000000000000000000000000000000000000000
USER root
RUN --mount=type=secret,id=certificates.pem apt-get -o Acquire::https::CAInfo=/run/secrets/certificates.pem update \
    && DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::https::CAInfo=/run/secrets/certificates.pem install --yes --no-install-recommends libgomp1 'gcc=4:12*' \
    && rm -rf /var/lib/apt/lists/*
COPY .ascend-requirements.txt /usr/local/share/ascend/requirements.txt
RUN --mount=type=secret,id=netrc --mount=type=secret,id=certificates.pem python -c "import sys; sys.exit(None if sys.version_info[:2] == (3, 12) else 'the image has Python %d.%d, and the task needs 3.12' % sys.version_info[:2])" \
    && PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore NETRC=/run/secrets/netrc SSL_CERT_FILE=/run/secrets/certificates.pem PIP_CERT=/run/secrets/certificates.pem python -m pip install --no-cache-dir --no-compile --no-deps --require-hashes --requirement /usr/local/share/ascend/requirements.txt \
    && python -c "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('purelib'), quiet=2, workers=0)"
