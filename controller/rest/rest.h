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
#define REST_HEADERS_MAX  24                   /* of a reply */
#define REST_PROBLEMS   "/api/v1/problems"     /* what a "type" of RFC 9457 leads to */

CLEANUP_FUNC(json, json_t *, json_decref)

enum route_flags {
    ROUTE_PUBLIC = 1,     /* no key needed */
    ROUTE_PKI    = 2,     /* also answered on the plain HTTP listener */
    ROUTE_BINARY = 4,     /* the body is not JSON: r->raw */
    ROUTE_NODB   = 8,     /* answers without the database too */
    ROUTE_WAKES  = 16,    /* leaves work behind: workers get a hint */
    ROUTE_LIST   = 32,    /* answers a page: OpenAPI adds the parameters */
    ROUTE_SLOW   = 64     /* may read or make much: x-lane in OpenAPI */
};

/* What all handlers share; borrowed from main for the life of the server. */
struct rest_context {
    const struct conf   *conf;
    const struct seal   *seal;
    const struct route  *routes;
};

struct query_arg { const char *name, *value; };

/* A header of a reply: name is a literal, value is freed with the request. */
struct reply_header {
    const char  *name;
    char        *value;
};

struct message;

struct identity;

/* What enroll/ keeps on a thread from one request to the next; end() is called
 * before the thread ends. */
struct rest_keep {
    void   *thing;
    void  (*end)(void *thing);
};

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
    const struct identity      *identity;              /* rest_auth.h */
    struct rest_keep           *keep;                  /* of this thread */
    bool                        open;                  /* no key is needed here */
    char                        id[37];                /* X-Request-ID */

    /* the reply */
    int                         status;                /* 200 unless set */
    const char                 *content_type;          /* application/json unless set */
    void                       *out;                   /* struct evbuffer */
    const struct message       *message;               /* rest_message.h */
    struct reply_header         headers[REST_HEADERS_MAX + 1];   /* NULL name ends */
    struct error                err;
    json_t                     *errors;                /* {pointer, detail} of each
                                                          fault of the body */
    json_t                     *problem;               /* more members of an error */
    bool                        represents;            /* the answer is the object: it
                                                          has an ETag */

    /* the audit row of a route that has an audit action; given away to rest/ */
    char                       *subject;               /* args[0] unless set */
    json_t                     *details;
};

typedef bool rest_handler(struct request *r);

/*
 * THE map is in controller/routes.c: one row per method and path.  A route with
 * an audit action runs in a transaction: what the handler writes is committed
 * together with the audit row, or not at all.
 */
struct route {
    const char    *method;
    const char    *path;          /* "/api/v1/teams/{id}"; a last {name*} takes
                                     what is left, slashes included (RFC 6960
                                     A.1: base64 in a path) */
    const char    *permission;    /* "team.read"; "" with ROUTE_PUBLIC, or when
                                     any key will do */
    const char    *audit;         /* action of the audit row, NULL: none */
    rest_handler  *handler;
    const void    *data;          /* struct resource (resource.h), or NULL */
    int            flags;
    const char    *summary;       /* for OpenAPI */
    int            status;        /* of success, for OpenAPI; 0: 200 */
    int            also;          /* another status of success, without content */
    const char    *media;         /* of the answer, unless it is JSON */
    const char    *accepts;       /* of a body with ROUTE_BINARY */
};

/* Reply helpers; all return true so that a handler may end with them. */
bool rest_reply_text(struct request *r, const char *text, size_t len);
bool rest_reply_json(struct request *r, const json_t *value);

/* Sets a header of the reply, NULL takes it out; one with a control character is
 * left out. */
void rest_header(struct request *r, const char *name, const char *value);
const char *rest_reply_header(const struct request *r, const char *name);
const char *rest_request_header(const struct request *r, const char *name);
const char *rest_query(const struct request *r, const char *name);

#define REST_TAG_MAX  40

/* The entity tag of a representation (RFC 9110 8.8.3), quotes included. */
void rest_tag(const void *data, size_t len, char out[REST_TAG_MAX]);

/* RFC 9110 13.1: whether list is "*" or has tag; strong: a weak one never fits. */
bool rest_tag_listed(const char *list, const char *tag, bool strong);

struct rest_server;

/*
 * Listens on conf->listen and conf->pki_listen and starts conf->api_threads
 * threads; NULL with the reason.  The database need not be there yet.
 */
struct rest_server *rest_start(const struct rest_context *ctx,
    const char *conninfo, const char *cert_pem, const char *key_pem,
    struct error *err);

/* The ports that were bound: port 0 lets the system choose. */
int rest_port(const struct rest_server *server);
int rest_pki_port(const struct rest_server *server);     /* 0: none */

/* New connections get the renewed certificate; the old ones stay. */
bool rest_use_certificate(struct rest_server *server, const char *cert_pem,
    const char *key_pem, struct error *err);

/* Answers what is under way (at most 5 s), then stops every thread. */
void rest_stop(struct rest_server *server);
