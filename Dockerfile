# The image of `fieldsync`: the command line with the locked packages, and nothing to build with.
# docker-compose.yml starts it as server, as worker and, once, to migrate.

FROM python:3.11.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/fieldsync
WORKDIR /src
# The packages come first: they are another layer only when the lock is another.
COPY requirements/runtime.txt requirements/
RUN /opt/fieldsync/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY replication replication
COPY upstream upstream
COPY syncserver syncserver
COPY clients clients
# The build backend is among the locked packages, so the project itself needs no download.
RUN /opt/fieldsync/bin/pip install --no-index --no-deps --no-build-isolation .

FROM python:3.11.13-slim-bookworm
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin fieldsync
COPY --from=build /opt/fieldsync /opt/fieldsync
ENV PATH=/opt/fieldsync/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /
USER 10001:10001
EXPOSE 8080 8081
ENTRYPOINT ["fieldsync"]
CMD ["serve"]
