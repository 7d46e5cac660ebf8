/* Looking at what a TLS listener serves: "deployed means seen". */
#pragma once
#include "http.h"

#define TLS_PROBE_MS  5000

/* All borrowed, for the time of the call. */
struct tls_probe_request {
    const char      *host;        /* name or address to connect to */
    int              port;
    const char      *sni;         /* NULL: none is sent */
    const char      *sigalgs;     /* NULL: all; "ECDSA+SHA256" sees what a client
                                     sees that knows only ECDSA */
    int              timeout_ms;  /* of connect and handshake together */
    bool             staple;      /* ask for an OCSP response (RFC 6066 8) */
    enum http_reach  reach;
    http_leaf       *check;       /* the leaf must pass it, else ERR_PEER; or NULL */
};

struct tls_probe {
    char            fingerprint[CERTCTL_HEX256];   /* SHA-256 of the leaf */
    char           *chain_pem;    /* as served, leaf first */
    unsigned char  *staple;       /* DER, NULL when none was stapled */
    size_t          staple_len;
    char            protocol[16]; /* "TLSv1.3" */
    double          ms;           /* from connect to the end of the handshake */
};

/*
 * A full handshake that believes everything: what is served is what is reported.
 * ERR_FORBIDDEN (a reserved address), ERR_TIMEOUT or ERR_PEER with the reason.
 * The client only says which networks are allowed.
 */
bool tls_probe(const struct http_client *client,
    const struct tls_probe_request *req, struct tls_probe *ret,
    struct error *err);

void tls_probe_free(struct tls_probe *probe);

static inline void
tls_probe_cleanup(struct tls_probe *probe)
{
    tls_probe_free(probe);
}
