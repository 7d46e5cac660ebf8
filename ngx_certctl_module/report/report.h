
/* Reports: what the files of this room share. */

#ifndef _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_


#include "call/call.h"
#include "cert/parse.h"


/*
 * Counters of status and metrics since NGINX started.  To add one: a member of
 * ngx_certctl_zone_t, a row here, both lines in docs/module-protocol.md.
 */

#define NGX_HTTP_CERTCTL_COUNTERS(X)                                          \
    X(commits,    "Control requests that changed the store.")                 \
    X(swaps,      "Certificates that became live by PUT or rollback.")        \
    X(rejects,    "Control requests that were refused.")                      \
    X(errors,     "Records that could not be read.")                          \
    X(handshakes, "TLS handshakes of servers with certctl on.")               \
    X(staples,    "TLS handshakes with a staple that certctl sent.")


/* A page of more bytes than this ends, whatever its limit is. */
#define NGX_HTTP_CERTCTL_PAGE_SIZE    2097152

/* Seconds that a responder's clock may be ahead, as when it was stored. */
#define NGX_HTTP_CERTCTL_REPORT_SKEW  300


typedef struct ngx_http_certctl_report_s  ngx_http_certctl_report_t;


/* A certificate that a server serves; or a record that no server serves. */

typedef struct {
    ngx_certctl_server_t          *server;   /* NULL: none */
    ngx_certctl_cert_t            *cert;
    const char                    *why;
    ngx_array_t                    names;    /* ngx_str_t: that it is served
                                               for, "" without SNI */
    ngx_uint_t                     place;    /* in the order of servers; 0: a
                                               record in no server_name */
} ngx_http_certctl_entry_t;

typedef void (*ngx_http_certctl_entry_pt)(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry);


struct ngx_http_certctl_report_s {
    ngx_http_certctl_json_t       *json;
    ngx_http_certctl_json_t        unserved; /* records of no server */
    ngx_certctl_t                 *conf;     /* the worker's own */
    ngx_certctl_t                  brief;    /* a copy, with a cache of facts */
    ngx_certctl_t                  full;     /* one that parses everything */
    ngx_http_certctl_entry_pt      write;    /* what is called for each */
    ngx_pool_t                    *pool;
    time_t                         now;
    ngx_array_t                    seen;     /* ngx_str_t: records served */
    ngx_array_t                    records;  /* ngx_str_t: the others */
    ngx_array_t                    warnings; /* ngx_http_certctl_warned_t */
    ngx_uint_t                     warnings_left_out;

    /* which certificates are wanted */
    ngx_str_t                      name;     /* "": all */
    ngx_str_t                      sni;      /* what clients send that ask for
                                               it: "" for an IP address */
    ngx_array_t                    servers;  /* ngx_certctl_server_t *: that
                                               these get */
    const char                    *after_name;
    ngx_uint_t                     after;    /* place */
    ngx_uint_t                     limit;    /* 0: none */

    ngx_uint_t                     count;
    char                           cursor[CERTCTL_NAME_MAX + 2];
                                             /* of the last one */

    unsigned                       details:1;   /* write() needs X509 */
    unsigned                       borrowed:1;  /* brief.cache is conf's */
    unsigned                       more:1;      /* than limit */
    unsigned                       failed:1;
};


typedef struct {
    const char                    *code;
    ngx_str_t                      text;
} ngx_http_certctl_warned_t;


/* report/report.c: on a thread */

/* Borrows the worker's facts.  NGX_ERROR without memory; close it always. */
ngx_int_t ngx_http_certctl_report_open(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call, ngx_http_certctl_entry_pt write,
    ngx_uint_t details);
void ngx_http_certctl_report_close(ngx_http_certctl_report_t *report);

/*
 * What the servers serve for their names, in the order of the configuration;
 * then the other records, by name: report/servers.c, report/records.c.  Both
 * set report->failed without memory.
 */
void ngx_http_certctl_report_servers(ngx_http_certctl_report_t *report);
void ngx_http_certctl_report_records(ngx_http_certctl_report_t *report);


/* report/served.c */

/*
 * A server that serves entry->cert, a record from the cache of facts, for one
 * of its names: for the first that an address leads there; NULL when none does.
 * With report->details, the names are added that the server serves it for.
 */
ngx_certctl_server_t *ngx_http_certctl_report_served(
    ngx_http_certctl_report_t *report, ngx_http_certctl_entry_t *entry);

/* Finds report->servers, once name and sni are known. */
void ngx_http_certctl_report_find_servers(ngx_http_certctl_report_t *report);

/* Warns of a served record for an IP address that clients who connect to it do
   not get. */
void ngx_http_certctl_report_check_ip(ngx_http_certctl_report_t *report,
    ngx_certctl_stored_t *stored);


/* report/page.c */

/* Reads what call asks for. */
ngx_int_t ngx_http_certctl_report_page(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call);

/* Whether names has name. */
ngx_uint_t ngx_http_certctl_report_listed(ngx_array_t *names, ngx_str_t *name);

/* Whether ?name= asks for cert, or for one of names (NULL: none). */
ngx_uint_t ngx_http_certctl_report_wanted(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert, ngx_array_t *names);

/* Writes one more, unless the page is full.  A record is from the cache of
   facts. */
void ngx_http_certctl_report_add(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry);

/* Pushes a copy of a name, NUL-terminated. */
void ngx_http_certctl_report_add_name(ngx_http_certctl_report_t *report,
    ngx_array_t *names, const u_char *data, size_t len);


/* report/entry.c: an entry in JSON */

void ngx_http_certctl_entry_full(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry);
void ngx_http_certctl_entry_compact(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry);

/* A server whose ssl_certificate has variables: known in handshakes only. */
void ngx_http_certctl_entry_variable(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server);

/* The staple's state, of a certificate with or without its X509. */
ngx_certctl_staple_e ngx_http_certctl_report_staple(
    ngx_http_certctl_report_t *report, ngx_certctl_cert_t *cert);


/* report/warnings.c */

/* Adds a warning: "name" and the text that fmt makes. */
void ngx_http_certctl_report_warn(ngx_http_certctl_report_t *report,
    const char *code, ngx_str_t *name, const char *fmt, ...);

/* Adds the warnings of a certificate with this staple. */
void ngx_http_certctl_report_check(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    ngx_certctl_staple_e staple);

/* A record that exists and could not be read. */
void ngx_http_certctl_report_unreadable(ngx_http_certctl_report_t *report,
    ngx_str_t *name);

/* "warnings" of the report. */
void ngx_http_certctl_report_warnings(ngx_http_certctl_report_t *report);


/* Configured worker processes: report/status.c. */
ngx_int_t ngx_http_certctl_report_workers(ngx_certctl_t *certctl);


/* The requests: each runs on a thread. */

void ngx_http_certctl_report_status(ngx_http_certctl_call_t *call);
void ngx_http_certctl_report_certificates(ngx_http_certctl_call_t *call);
void ngx_http_certctl_report_metrics(ngx_http_certctl_call_t *call);


#endif /* _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_ */
