# One image for every process: `ruh appservice`, `ruh portal`, `ruh migrate`, and Synapse with our module.
FROM node:22-bookworm-slim AS pages
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts

FROM python:3.13-slim-bookworm
WORKDIR /app
COPY requirements.lock pyproject.toml ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY . .
COPY --from=pages /app/node_modules node_modules
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && useradd --create-home ruh \
    && for place in setup setup/synapse setup/appservice setup/portal; do \
         install -d -o ruh -g ruh -m 0700 /data/$place; done
USER ruh
ENTRYPOINT ["ruh"]
