# One file, three images: app (the platform), store (PostgreSQL, Redis), watch (Prometheus).
# Debian's own packages throughout: `make rehearse` runs the same programs without any image.
ARG BASE=debian:12.12-slim
FROM ${BASE} AS base
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
RUN mkdir -p /srv/app

FROM base AS store
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-15 redis-server \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/15 \
    && useradd -u 10002 -M -d /srv/postgres postgres-server \
    && useradd -u 10003 -M -d /srv/redis redis-server \
    && install -d -o 10002 -g 10002 -m 0700 /srv/postgres \
    && install -d -o 10003 -g 10003 -m 0700 /srv/redis
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY ops/stack/*.sh /srv/app/ops/stack/
USER 10002:10002

FROM base AS watch
RUN apt-get update && apt-get install -y --no-install-recommends prometheus prometheus-alertmanager \
    && rm -rf /var/lib/apt/lists/* \
    && useradd -u 10004 -M -d /srv/prometheus prometheus-server \
    && useradd -u 10005 -M -d /srv/alertmanager alertmanager \
    && install -d -o 10004 -g 10004 -m 0700 /srv/prometheus \
    && install -d -o 10005 -g 10005 -m 0700 /srv/alertmanager
COPY ops/monitoring /srv/app/ops/monitoring
USER 10004:10004

FROM base AS app
ARG SSL_CERT_FILE=
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip make ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd -u 10001 -M -d /tmp crossimpact \
    && for folder in home artifacts landing feed targets logs logins web; do \
         install -d -o 10001 -g 10001 -m 0750 /srv/$folder; done && chmod 0755 /srv/web
WORKDIR /srv/app
COPY Makefile pyproject.toml requirements.lock README.md LICENSE ./
COPY src src
# Packages by hash, byte-compiled; the application is the checkout itself.
RUN --mount=type=cache,target=/cache XDG_CACHE_HOME=/cache make install && rm -rf .boot
COPY . .
ENV PATH=/srv/app/.venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
