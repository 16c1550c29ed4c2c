# The image of all programs: the operator, executors and bridges. Two stages from the same base, so that what the first
# installs runs in the second; nothing that builds is left in it.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all: PIP_REQUIRE_HASHES=1
# Where packages come from, if not from the public index, and the base's file of authorities for it. Not in the result.
ARG PIP_INDEX_URL
ARG PIP_CERT
WORKDIR /build
COPY requirements-build.lock requirements-runtime.lock ./
# Debian's own Python comes without venv.
RUN python3 -c 'import ensurepip' 2>/dev/null \
    || { apt-get update && apt-get install --yes --no-install-recommends python3-venv; }
RUN python3 -m venv /build/tools \
    && /build/tools/bin/pip install --quiet --requirement requirements-build.lock \
    && python3 -m venv --without-pip /opt/durable-timer \
    && /build/tools/bin/pip --python /opt/durable-timer/bin/python install --quiet --requirement requirements-runtime.lock
COPY pyproject.toml README.md api.yaml ./
COPY operator operator
COPY api_bridge api_bridge
RUN /build/tools/bin/hatchling build -t wheel -d dist \
    && PIP_REQUIRE_HASHES=0 /build/tools/bin/pip --python /opt/durable-timer/bin/python install --quiet --no-deps dist/*.whl

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Durable Timer" \
      org.opencontainers.image.description="Timers kept in a database, delivered as HTTP callbacks: operator, executors and bridges" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# python:*-slim has no tini, Debian no authorities; a base that has both is left as it is.
RUN { command -v tini && test -s /etc/ssl/certs/ca-certificates.crt; } >/dev/null \
    || { apt-get update && apt-get install --yes --no-install-recommends ca-certificates tini && rm -rf /var/lib/apt/lists/*; }
# A user with a name and a home: libraries ask for both.
RUN echo 'durable-timer:x:65532:65532::/var/lib/durable-timer:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'durable-timer:x:65532:' >>/etc/group \
    && install -d -o 65532 -g 65532 /var/lib/durable-timer
COPY --from=build /opt/durable-timer /opt/durable-timer
ENV PATH=/opt/durable-timer/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    DURABLE_TIMER_LOG__FORMAT=json
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
WORKDIR /var/lib/durable-timer
EXPOSE 8080
ENTRYPOINT ["tini", "--", "durable-timer"]
CMD ["--help"]
