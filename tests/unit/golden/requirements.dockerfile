FROM registry.example/python:3.12-slim@sha256:0000000000000000000000000000000000000000000000000000000000000000
USER root
COPY .ascend-requirements.txt /usr/local/share/ascend/requirements.txt
RUN python -c "import sys; sys.exit(None if sys.version_info[:2] == (3, 12) else 'the image has Python %d.%d, and the task needs 3.12' % sys.version_info[:2])" \
    && PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore python -m pip install --no-cache-dir --no-compile --no-deps --require-hashes --requirement /usr/local/share/ascend/requirements.txt \
    && python -c "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('purelib'), quiet=2, workers=0)"
