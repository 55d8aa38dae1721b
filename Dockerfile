# Hydrant as one static binary in an otherwise empty image: no shell, no libraries, no package manager.
#
#   docker build --build-arg HYDRANT_COMMIT="$(git rev-parse --short=12 HEAD)" -t hydrant .
#
# Static by glibc rather than musl: one target less, and malloc and the resolver stay those that are tested. Linked that
# way, tokio, rustls, the redis and HTTP clients and tonic were seen to work in an empty root as user 65532, names looked
# up by DNS and in /etc/hosts included (glibc has had both built in since 2.34). What they miss there is the CA bundle.

FROM rust:1.95-bookworm AS build
WORKDIR /hydrant
COPY . .
# build.rs has no git in here to ask.
ARG HYDRANT_COMMIT=unknown
ENV HYDRANT_COMMIT=$HYDRANT_COMMIT
# With a target named, the flag is for the binary alone and not for build scripts and macros, which are loaded and so
# cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN target="$(rustc --print host-tuple)" \
    && cargo build --release --locked --target "$target" \
    && install -D "target/$target/release/hydrant" /image/hydrant \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt

FROM scratch
ARG HYDRANT_COMMIT=unknown
LABEL org.opencontainers.image.title="hydrant" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$HYDRANT_COMMIT"
COPY --from=build /image /
# By number: there is no /etc/passwd, and Kubernetes can check runAsNonRoot only against a number.
USER 65532:65532
# The API (4770) is for the pod's own processes and is not exposed.
EXPOSE 4771
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s CMD ["/hydrant", "healthcheck"]
ENTRYPOINT ["/hydrant"]
CMD ["serve", "--config", "/etc/hydrant/hydrant.yaml"]
