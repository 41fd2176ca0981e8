# syntax=docker/dockerfile:1
# One static program in an empty image: no shell, no package manager, no user but its own.
FROM rust:1-bookworm AS build
WORKDIR /build
COPY . .
# The C library is linked in: names are resolved by its own resolver, which reads /etc/hosts and asks DNS. The target has to be
# named, or build scripts would be linked so too.
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')" \
    && mkdir -p /image/state \
    && cp target/*/release/headroom /image/headroom

FROM scratch
COPY --from=build --chown=65532:65532 /image /
USER 65532:65532
# Without consumers in headroom.toml it refuses to listen here, unless it is told that all may call.
ENV HEADROOM_LISTEN=0.0.0.0:8080 \
    HEADROOM_STATE_DIR=/state \
    HEADROOM_LOG_FORMAT=json
VOLUME /state
EXPOSE 8080
STOPSIGNAL SIGTERM
# With [tls]: HEADROOM_CERTIFICATE names its certificate.
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s CMD ["/headroom", "healthcheck"]
ENTRYPOINT ["/headroom"]
CMD ["serve"]
