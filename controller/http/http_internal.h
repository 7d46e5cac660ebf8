/* What the files of this room share. */
#pragma once
#include "http.h"
#include <curl/curl.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

/* One request under way. */
struct http_exchange {
    const struct http_request  *req;
    struct http_response        ret;
    CURL                       *easy;
    size_t                      body_size;   /* allocated */
    const struct networks      *allowed;
    bool                        tls;         /* https: it proves who it is */
    bool                        tried;       /* an address that is allowed */
    bool                        looked;      /* fingerprint, chain are taken */
    struct error                why;         /* why we gave up ourselves, or
                                                ERR_NONE */
};

/* Sets ctx up as req->tls says, before a handshake. */
CURLcode http_tls_context(CURL *easy, void *ssl_ctx, void *exchange);

/* Fills fingerprint and chain from the connection that carries the answer. */
void http_tls_look(struct http_exchange *x);

const struct networks *http_client_allowed(const struct http_client *client);

/* NULL, or what an address is for ("loopback") that no call of that reach leads to. */
const char *http_address_reserved(const struct networks *allowed,
    enum http_reach reach, const struct sockaddr *address);

/* The same as ERR_FORBIDDEN. */
bool http_guard(const struct networks *allowed, enum http_reach reach,
    const struct sockaddr *address, struct error *err);
