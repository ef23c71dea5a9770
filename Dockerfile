# The gateway and its simulators in one image: docs/installation.md, "In a container".
#   docker build -t cpppod .
#   docker run --network host -v /etc/cpppod:/etc/cpppod:ro -v cpppod:/var/lib/cpppod cpppod
#   docker run -p 44818:44818 cpppod enip_server          a simulated controller with SCADA=DINT[1000]
# The state is on a named volume (-v cpppod:...): an anonymous one goes with its container.

FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/cpppod \
 && /opt/cpppod/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock \
 && python -m pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes -r requirements-build.lock
COPY . .
RUN python -m pip wheel --no-cache-dir --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir /wheels . \
 && /opt/cpppod/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /wheels/*.whl

FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
LABEL org.opencontainers.image.title="cpppod" \
      org.opencontainers.image.description="Industrial gateway for EtherNet/IP, Modbus and text devices" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 990 cpppod \
 && useradd --system --uid 990 --gid cpppod --groups dialout --home-dir /var/lib/cpppod cpppod \
 && install -d -o cpppod -g cpppod -m 0755 /run/cpppod \
 && install -d -o cpppod -g cpppod -m 0750 /var/lib/cpppod \
 && install -d -m 0755 /etc/cpppod
COPY --from=build /opt/cpppod /opt/cpppod
COPY --chmod=0755 docker-entrypoint.sh /usr/local/bin/
ENV PATH=/opt/cpppod/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RUNTIME_DIRECTORY=/run/cpppod \
    STATE_DIRECTORY=/var/lib/cpppod \
    container=oci
USER cpppod
WORKDIR /var/lib/cpppod
VOLUME /var/lib/cpppod
EXPOSE 44818/tcp 44818/udp 44880/tcp 44881/tcp 9880/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["docker-entrypoint.sh", "healthy"]
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["cpppod"]
