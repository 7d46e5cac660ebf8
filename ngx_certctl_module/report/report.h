
/* Reports: what the walk over all certificates and its visitors share. */

#ifndef _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_


#include "call/call.h"


/*
 * What a report is loud about.  To add one: a row here, its condition in
 * report/warnings.c, a line in docs/module-protocol.md.
 */

#define NGX_HTTP_CERTCTL_WARNINGS(X)                                          \
    X(MUST_STAPLE,  "must_staple_without_staple")                             \
    X(EXPIRED,      "certificate_expired")                                    \
    X(FILE_DIFFERS, "file_differs")                                           \
    X(UNREADABLE,   "record_unreadable")

typedef enum {
#define X(NAME, text)  NGX_HTTP_CERTCTL_WARN_ ## NAME,
    NGX_HTTP_CERTCTL_WARNINGS(X)
#undef X
    NGX_HTTP_CERTCTL_WARN_MAX
} ngx_http_certctl_warning_e;


/* Bytes of an answer that are made at once: what a slow client holds. */
#define NGX_HTTP_CERTCTL_PIECE        262144

/* Seconds that a responder's clock may be ahead, as when it was stored. */
#define NGX_HTTP_CERTCTL_REPORT_SKEW  300


typedef struct ngx_http_certctl_report_s  ngx_http_certctl_report_t;
typedef struct ngx_http_certctl_ahead_s   ngx_http_certctl_ahead_t;


/*
 * Called for each certificate that server gives, to the names of asked that
 * are chained to the one with the index; server is NULL for a record that no
 * server_name asks for.
 */

typedef void (*ngx_http_certctl_found_pt)(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    const char *why, ngx_array_t *asked, ngx_uint_t index);


struct ngx_http_certctl_report_s {
    ngx_http_certctl_json_t       *json;
    ngx_certctl_t                 *conf;     /* the worker's own */
    ngx_certctl_t                  facts;    /* a copy, with a cache of facts */
    ngx_certctl_t                  full;     /* one that parses everything */
    ngx_http_certctl_found_pt      found;
    ngx_pool_t                    *pool;
    time_t                         now;
    size_t                         piece;    /* bytes after which the walk
                                               pauses; 0: never */
    ngx_uint_t                     stage;    /* of who writes it */
    ngx_atomic_uint_t              generation;  /* of the store, at first */
    ngx_array_t                    seen;     /* ngx_str_t: records served */
    ngx_array_t                    warnings; /* ngx_http_certctl_warned_t */
    ngx_uint_t                     quiet;    /* warnings left out */

    /* which certificates are wanted; NULL and 0: all */
    ngx_str_t                      name;
    ngx_array_t                    records;  /* ngx_str_t: that have it */
    const char                    *after_name;
    ngx_uint_t                     after;    /* place among the servers */
    ngx_uint_t                     limit;
    ngx_uint_t                     given;
    char                           next[CERTCTL_NAME_MAX + 2];

    /* where the walk is: in a server, at a name and kind; at a record */
    ngx_uint_t                     place;
    ngx_pool_t                    *inside;   /* of the server it is in */
    ngx_certctl_server_t           server;   /* a copy of it */
    ngx_array_t                    asked;    /* ngx_http_certctl_asked_t */
    ngx_uint_t                     chosen;   /* names that have a choice */
    ngx_uint_t                     at;
    ngx_uint_t                     record;

    /* what a second thread reads for it: report/prefetch.c */
    ngx_http_certctl_call_t       *call;     /* that may have one, or NULL */
    ngx_http_certctl_ahead_t      *ahead;
    ngx_uint_t                     ahead_end;   /* the first place behind */

    unsigned                       details:1;   /* found() needs X509 */
    unsigned                       borrowed:1;  /* facts.cache is conf's */
    unsigned                       chained:1;   /* all names of a server */
    unsigned                       listed:1;
    unsigned                       more:1;
    unsigned                       failed:1;
};


/* A name that a client may ask a server for, and what it is given. */

typedef struct {
    ngx_str_t                      name;
    u_char                         given[CERTCTL_KINDS];
    u_char                         follows[CERTCTL_KINDS];
    ngx_uint_t                     next[CERTCTL_KINDS];
                                             /* which is given the same; 0 */
    u_char                         digest[CERTCTL_KINDS][32];
} ngx_http_certctl_asked_t;


typedef struct {
    ngx_http_certctl_warning_e     code;
    ngx_str_t                      text;
} ngx_http_certctl_warned_t;


/* report/walk.c: on a thread */

/* Takes what call asks for, and borrows the worker's facts.  NGX_ERROR without
   memory; to be closed always. */
ngx_int_t ngx_http_certctl_report_open(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call, ngx_http_certctl_found_pt found,
    ngx_uint_t details);
void ngx_http_certctl_report_close(ngx_http_certctl_report_t *report);

/* Between two pieces the facts are given back, so that others may have them. */
ngx_int_t ngx_http_certctl_report_borrow(ngx_http_certctl_report_t *report);
void ngx_http_certctl_report_return(ngx_http_certctl_report_t *report);

/*
 * What the servers give, in the order of the configuration; then what no
 * server_name asks for, by name.  NGX_AGAIN when a piece is full, or when a
 * second thread is to help: called again they go on.  NGX_ERROR with
 * report->failed set.
 */
ngx_int_t ngx_http_certctl_report_servers(ngx_http_certctl_report_t *report);
ngx_int_t ngx_http_certctl_report_unserved(ngx_http_certctl_report_t *report);


/* report/prefetch.c */

/*
 * Before the walk looks for what is at place, of so many: takes what a second
 * thread has read for it.  1 when call->helper is to be started first.
 */
ngx_uint_t ngx_http_certctl_report_ahead(ngx_http_certctl_report_t *report,
    ngx_uint_t place, ngx_uint_t places);

/* The walk needs it no more; also where there is none. */
void ngx_http_certctl_report_alone(ngx_http_certctl_report_t *report);


/* report/page.c */

/* Reads what call asks for. */
ngx_int_t ngx_http_certctl_report_page(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call);

/* Whether cert is one of them, and whether the page has room for it. */
ngx_uint_t ngx_http_certctl_report_named(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert, ngx_array_t *asked, ngx_uint_t index);
ngx_uint_t ngx_http_certctl_report_room(ngx_http_certctl_report_t *report);

/* Pushes a copy of a name. */
void ngx_http_certctl_report_keep(ngx_http_certctl_report_t *report,
    ngx_array_t *names, const u_char *data, size_t len);


/* report/report_args.c */

/* Fills asked with the names that a client could ask server for. */
ngx_int_t ngx_http_certctl_report_asked(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_array_t *asked);

/* Chains those together that are given the same certificate of a kind. */
ngx_int_t ngx_http_certctl_report_chain(ngx_array_t *asked);


/* report/entry.c, _compact.c: visitors that write JSON */

void ngx_http_certctl_report_entry(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    const char *why, ngx_array_t *asked, ngx_uint_t index);
void ngx_http_certctl_report_compact(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    const char *why, ngx_array_t *asked, ngx_uint_t index);

/* A server whose ssl_certificate has variables: known at each handshake only. */
void ngx_http_certctl_report_variable(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server);

/* The staple's state, of a certificate with or without its X509. */
ngx_certctl_staple_e ngx_http_certctl_report_staple(
    ngx_http_certctl_report_t *report, ngx_certctl_cert_t *cert);


/* report/warnings.c */

/* Looks for what is to be said of a certificate with this staple. */
void ngx_http_certctl_report_judge(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    ngx_certctl_staple_e staple);

void ngx_http_certctl_report_warn(ngx_http_certctl_report_t *report,
    ngx_http_certctl_warning_e code, ngx_str_t *name, const char *text);

/* A record that is there and could not be read. */
void ngx_http_certctl_report_unreadable(ngx_http_certctl_report_t *report,
    ngx_str_t *name);

/* "warnings" of the report. */
void ngx_http_certctl_report_warnings(ngx_http_certctl_report_t *report);

/* SHA-256 of the first certificate in a PEM file, as it is on the disk now.
   NGX_DECLINED when there is none that can be read. */
ngx_int_t ngx_http_certctl_report_file(const char *path, u_char *digest);


/* The requests: each runs on a thread. */

void ngx_http_certctl_report_status(ngx_http_certctl_call_t *call);
void ngx_http_certctl_report_certificates(ngx_http_certctl_call_t *call);
void ngx_http_certctl_report_metrics(ngx_http_certctl_call_t *call);


#endif /* _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_ */
