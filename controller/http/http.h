/*
 * Outgoing HTTPS: the one door where time-outs, size limits, proxy, TLS settings
 * and the guard against reserved addresses exist.  Redirects are not followed.
 */
#pragma once
#include "cleanup.h"
#include "error.h"
#include "network.h"
#include "x509_info.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What stands when a request leaves it 0. */
#define HTTP_CONNECT_MS  5000
#define HTTP_TOTAL_MS    30000
#define HTTP_ANSWER_MAX  (4 * 1024 * 1024)
#define HTTP_URL_MAX     4096

/*
 * How far from the Internet a call may lead.  Each address that is connected to
 * is judged, after its name was resolved, whatever notation it has; only the
 * last knows no exception.  With a proxy, it is the proxy's address.
 */
enum http_reach {
    HTTP_PUBLIC,       /* public addresses: a stranger chose the URL */
    HTTP_PRIVATE,      /* private networks, and those that the client allows */
    HTTP_LOOPBACK,     /* those, and loopback */
    HTTP_ANYWHERE      /* the user chose the URL, and calls as himself */
};

/*
 * Connections that are kept open, to be used by one thread.  A connection is
 * used again only under the TLS settings that it was made with.
 */
struct http_client;

/* allowed: what an operator allows beyond private networks; borrowed, or NULL. */
struct http_client *http_client_new(const struct networks *allowed,
    struct error *err);
void http_client_free(struct http_client *client);

CLEANUP_FUNC(http_client, struct http_client *, http_client_free)

/* NULL, or why a server with this certificate is not the one that is meant. */
typedef const char *http_leaf(X509 *leaf);

/*
 * Whom to believe and who we are.  All of it is checked inside the handshake,
 * before a byte of the request is sent; TLS sessions are never resumed.
 */
struct http_tls {
    const char  *ca_pem;       /* the only roots; NULL: the system's */
    const char  *cert_pem;     /* client certificate, leaf first, or NULL */
    const char  *key_pem;      /* its key: never touches a file */
    const char  *pin;          /* SHA-256 of the server's leaf in hex, instead
                                  of roots and name */
    const char  *uri;          /* URI SAN the server must carry, instead of the
                                  URL's host name */
    http_leaf   *check;        /* the pinned leaf must pass it, too; or NULL */
    bool         only_tls13;   /* else TLS 1.2 and 1.3 */
};

/* All borrowed, for the time of the call. */
struct http_request {
    const char         *method;          /* NULL: GET */
    const char         *url;             /* https:// or http:// */
    const char *const  *headers;         /* "Name: value", NULL-terminated, or NULL */
    const char         *content_type;    /* of the body, or NULL */
    const void         *body;            /* NULL: none */
    size_t              body_len;
    const char         *proxy;           /* URL; NULL: none, whatever the environment says */
    const char         *unix_socket;     /* path to connect to instead of the host */
    const char         *address;         /* IP to connect to instead of resolving the host */
    int                 connect_ms;
    int                 total_ms;
    size_t              answer_max;      /* bytes of the body */
    enum http_reach     reach;
    struct http_tls     tls;
};

struct http_header {
    char  *name;
    char  *value;
};

struct http_response {
    bool                 verified;       /* the server has proved who it is: else
                                            its status and body are not for users */
    int                  status;
    char                *body;           /* NUL-terminated, never NULL */
    size_t               body_len;
    int                  retry_after;    /* seconds, 0 when absent (RFC 9110 10.2.3) */
    char                 fingerprint[CERTCTL_HEX256];   /* of the server's leaf; "" without TLS */
    char                *chain_pem;      /* what the server sent, leaf first, or NULL */
    struct http_header  *headers;
    size_t               nheaders;
};

/*
 * True when an answer came, whatever its status; ret is then filled and to be
 * freed.  Else ERR_INVALID (the request cannot be made), ERR_FORBIDDEN (the guard),
 * ERR_TIMEOUT or ERR_PEER, with the reason; the text never has the URL's query.
 */
bool http_send(struct http_client *client, const struct http_request *req,
    struct http_response *ret, struct error *err);

/*
 * base without its query and slashes at its end, and path, in which "%s" is a text
 * that is percent-encoded, and "%d" a number.  A segment of the path is never empty,
 * "." or "..".  free() it; NULL with the reason.
 */
char *http_url(const char *base, struct error *err, const char *path, ...)
    __attribute__((format(printf, 3, 4)));

/* Its parts: the base, a segment (INVALID: see above), and a text of a query. */
void http_url_base(FILE *out, const char *base);
bool http_url_segment(FILE *out, const char *text, struct error *err);
void http_url_text(FILE *out, const char *text);

/*
 * False, with ERR_FORBIDDEN, for a URL whose host is an address that no call of
 * that reach leads to.  A name, or what is not a URL, is judged by the call only.
 */
bool http_url_allowed(const struct networks *allowed, enum http_reach reach,
    const char *url, struct error *err);

/* What no host of a fleet has for an address: "link-local"; NULL for other addresses
 * and for what is none. */
const char *http_address_unusable(const char *text);

/* Value of the first header of that name, letter case ignored; NULL when absent. */
const char *http_header(const struct http_response *response, const char *name);

/* Wipes the body, which may have held a token. */
void http_response_free(struct http_response *response);

static inline void
http_response_cleanup(struct http_response *response)
{
    http_response_free(response);
}
