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
    bool                        looked;      /* fingerprint, chain are taken */
    struct error                why;         /* why we gave up ourselves, or
                                                ERR_NONE */
};

/* Sets ctx up as req->tls says, before a handshake. */
CURLcode http_tls_context(CURL *easy, void *ssl_ctx, void *exchange);

/* Fills fingerprint and chain from the connection that carries the answer. */
void http_tls_look(struct http_exchange *x);

/* NULL, or what a reserved address is for ("loopback"). */
const char *http_address_reserved(const struct sockaddr *address);
