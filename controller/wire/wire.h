/* The wire between controller and module: names only, no code. */
#pragma once

#define CERTCTL_VERSION        "0.1.0"

#define CERTCTL_WIRE_PREFIX    "/certctl/v1"

/* Identities, carried as URI SANs of certificates that the fleet CA issues. */
#define CERTCTL_URN_CONTROLLER "urn:certctl:controller"
#define CERTCTL_URN_AGENT      "urn:certctl:agent:"

/* Common name of the certificate that a module has until then. */
#define CERTCTL_AGENT_CN       "certctl-agent"

/*
 * The record that holds the control listener's own certificate. No host name
 * may begin with "_", so it cannot collide with a served name.
 */
#define CERTCTL_WIRE_IDENTITY  "_agent"

/* Names of records: [A-Za-z0-9._*-]{1,253}. */
#define CERTCTL_NAME_MAX       253

/* What a request body may hold at most. */
#define CERTCTL_CHAIN_MAX      65536     /* PUT certificates: PEM chain, key */
#define CERTCTL_BULK_BODY      1048576   /* POST certificates: many chains, as
                                            large as NGINX lets a body be */
#define CERTCTL_BULK_MAX       1000      /* and so many at most */
#define CERTCTL_CSR_BODY_MAX   65536     /* POST csr: arguments, as a form */
#define CERTCTL_OCSP_MAX       65536     /* PUT ocsp: one DER response */
#define CERTCTL_CHAIN_DEPTH    10        /* certificates in one chain */
#define CERTCTL_FORM_MAX       65536     /* POST csr: its arguments, when they
                                            are in the body */
#define CERTCTL_SANS_MAX       100       /* names in one certificate, of at most
                                            CERTCTL_NAME_MAX each */

/* CERTCTL_KEY_TYPES(X): X(NAME, "text on the wire", bits). */
#define CERTCTL_KEY_TYPES(X)                                                  \
    X(EC_P256,  "ec-p256",  256)                                              \
    X(EC_P384,  "ec-p384",  384)                                              \
    X(RSA_2048, "rsa-2048", 2048)                                             \
    X(RSA_3072, "rsa-3072", 3072)                                             \
    X(RSA_4096, "rsa-4096", 4096)                                             \
    X(ED25519,  "ed25519",  256)

/* Where a served certificate came from. */
#define CERTCTL_SOURCES(X)                                                    \
    X(STORE,       "store")                                                   \
    X(STATIC,      "static")                                                  \
    X(VARIABLE,    "variable")                                                \
    X(PLACEHOLDER, "placeholder")

/* The state of a certificate's staple. */
#define CERTCTL_STAPLE_STATES(X)                                              \
    X(NOT_APPLICABLE, "not_applicable")  /* it names no OCSP responder */     \
    X(MISSING,        "missing")                                              \
    X(FRESH,          "fresh")                                                \
    X(STALE,          "stale")           /* past nextUpdate: not stapled */   \
    X(WITHDRAWN,      "withdrawn")       /* revoked, or withdrawn */
