/* What a handler sees: a request, its arguments, and a reply to fill. */
#pragma once
#include "db.h"
#include "error.h"
#include "seal.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define REST_ARGS_MAX   4
#define REST_QUERY_MAX  24

CLEANUP_FUNC(json, json_t *, json_decref)

enum route_flags {
    ROUTE_PUBLIC = 1,     /* no key needed */
    ROUTE_PKI    = 2,     /* also answered on the plain HTTP listener */
    ROUTE_BINARY = 4      /* the body is not JSON: r->raw */
};

/* What all handlers share; borrowed from main for the life of the server. */
struct rest_context {
    const struct conf   *conf;
    const struct seal   *seal;
    const struct route  *routes;
};

struct query_arg { const char *name, *value; };

struct request {
    struct db                  *db;
    const struct rest_context  *ctx;
    const struct route         *route;
    const char                 *method;
    const char                 *path;                  /* as sent, without query */
    const char                 *args[REST_ARGS_MAX];   /* {id} segments, decoded */
    struct query_arg            query[REST_QUERY_MAX]; /* decoded, NULL name ends */
    json_t                     *body;                  /* NULL when there was none */
    const unsigned char        *raw;                   /* the body's bytes */
    size_t                      raw_len;
    const char                 *actor;                 /* "admin", "anonymous" */
    const char                 *actor_type;            /* "APIKey", "Anonymous" */
    char                        id[37];                /* X-Request-ID */

    /* the reply */
    int                         status;                /* 200 unless set */
    const char                 *content_type;          /* application/json unless set */
    void                       *out;                   /* struct evbuffer */
    void                       *headers;               /* struct evkeyvalq */
    struct error                err;
};

typedef bool rest_handler(struct request *r);

/* THE map is in controller/routes.c: one row per method and path. */
struct route {
    const char    *method;
    const char    *path;          /* "/api/v1/teams/{id}"; a last {name*} takes
                                     what is left, slashes included (RFC 6960
                                     A.1: base64 in a path) */
    const char    *permission;    /* "team.read"; "" with ROUTE_PUBLIC */
    const char    *audit;         /* action of the audit row, NULL: none */
    rest_handler  *handler;
    const void    *data;          /* struct resource, for generic handlers */
    int            flags;
    const char    *summary;       /* for OpenAPI */
};

/* Reply helpers; all return true so that a handler may end with them. */
bool rest_reply_text(struct request *r, const char *text, size_t len);
bool rest_reply_json(struct request *r, const json_t *value);
void rest_header(struct request *r, const char *name, const char *value);
const char *rest_request_header(const struct request *r, const char *name);
const char *rest_query(const struct request *r, const char *name);

struct rest_server;

/* Listens and starts n threads; NULL with the reason. */
struct rest_server *rest_start(const struct rest_context *ctx,
    const char *conninfo, const char *cert_pem, const char *key_pem,
    struct error *err);

/* New connections get the renewed certificate; the old ones stay. */
bool rest_use_certificate(struct rest_server *server, const char *cert_pem,
    const char *key_pem, struct error *err);

/* Answers what is under way (at most 5 s), then stops every thread. */
void rest_stop(struct rest_server *server);
