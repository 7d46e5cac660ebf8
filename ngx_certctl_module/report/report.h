
/* Reports: what the walk over all certificates and its visitors share. */

#ifndef _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_


#include "call/call.h"
#include "cert/parse.h"


/*
 * What a report is loud about.  To add one: a row here, its condition in
 * report/warnings.c, a line in docs/module-protocol.md.
 */

#define NGX_HTTP_CERTCTL_WARNINGS(X)                                          \
    X(MUST_STAPLE,  "must_staple_without_staple")                             \
    X(EXPIRED,      "certificate_expired")                                    \
    X(FILE_DIFFERS, "file_differs")                                           \
    X(KEY_USAGE,    "key_usage")                                              \
    X(IP_NEEDS_DEFAULT, "ip_needs_default_server")                                           \
    X(UNREADABLE,   "record_unreadable")

typedef enum {
#define X(NAME, text)  NGX_HTTP_CERTCTL_WARN_ ## NAME,
    NGX_HTTP_CERTCTL_WARNINGS(X)
#undef X
    NGX_HTTP_CERTCTL_WARN_MAX
} ngx_http_certctl_warning_e;


/* A page of more bytes than this ends, whatever its limit is. */
#define NGX_HTTP_CERTCTL_PAGE_SIZE    2097152

/* Seconds that a responder's clock may be ahead, as when it was stored. */
#define NGX_HTTP_CERTCTL_REPORT_SKEW  300


typedef struct ngx_http_certctl_report_s  ngx_http_certctl_report_t;


/* A host name that clients may ask a server for, "" for those without SNI, and
   the certificate of each key type that it is served with. */

typedef struct {
    ngx_str_t                      name;
    u_char                         served[CERTCTL_KINDS];
    u_char                         digest[CERTCTL_KINDS][32];

    /* hosts with the same certificate are a group */
    u_char                         grouped[CERTCTL_KINDS];  /* not the first */
    ngx_uint_t                     next[CERTCTL_KINDS];     /* 0: the last */
} ngx_http_certctl_host_t;


/*
 * Called for each certificate that server serves, for the hosts of the group
 * that begins at index; server is NULL for a record that no server serves.
 */

typedef void (*ngx_http_certctl_found_pt)(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    const char *why, ngx_array_t *hosts, ngx_uint_t index);


struct ngx_http_certctl_report_s {
    ngx_http_certctl_json_t       *json;
    ngx_http_certctl_json_t        unserved; /* records of no server */
    ngx_certctl_t                 *conf;     /* the worker's own */
    ngx_certctl_t                  brief;    /* a copy, with a cache of facts */
    ngx_certctl_t                  full;     /* one that parses everything */
    ngx_http_certctl_found_pt      found;
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
    ngx_array_t                    no_sni;   /* digests of the certificates that
                                               clients without SNI get */
    const char                    *after_name;
    ngx_uint_t                     after;    /* place among the servers' */
    ngx_uint_t                     limit;    /* 0: none */

    ngx_uint_t                     count;
    char                           cursor[CERTCTL_NAME_MAX + 2];
                                             /* of the last one */

    unsigned                       details:1;   /* found() needs X509 */
    unsigned                       borrowed:1;  /* brief.cache is conf's */
    unsigned                       more:1;      /* than limit */
    unsigned                       failed:1;
};


typedef struct {
    ngx_http_certctl_warning_e     code;
    ngx_str_t                      text;
} ngx_http_certctl_warned_t;


/* report/report.c: on a thread */

/* Borrows the worker's facts.  NGX_ERROR without memory; close it always. */
ngx_int_t ngx_http_certctl_report_open(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call, ngx_http_certctl_found_pt found,
    ngx_uint_t details);
void ngx_http_certctl_report_close(ngx_http_certctl_report_t *report);


/* report/walk.c */

/*
 * What the servers serve for their names, in the order of the configuration;
 * then the other records, by name.  Sets report->failed without memory.
 */
void ngx_http_certctl_report_servers(ngx_http_certctl_report_t *report);
void ngx_http_certctl_report_records(ngx_http_certctl_report_t *report);


/* report/served.c */

/*
 * A server that serves the record of stored, from a cache of facts, for one of
 * its names: for the first that an address leads there; NULL when none does.
 * With hosts the names are added that the server serves it for.
 */
ngx_certctl_server_t *ngx_http_certctl_report_served(
    ngx_http_certctl_report_t *report, ngx_certctl_stored_t *stored,
    ngx_array_t *hosts);

/* Finds report->servers, once name and sni are known. */
void ngx_http_certctl_report_asked(ngx_http_certctl_report_t *report);

/* Finds report->no_sni. */
void ngx_http_certctl_report_find_no_sni(ngx_http_certctl_report_t *report);

/* Warns of a served record for an IP address that clients who connect to it do
   not get. */
void ngx_http_certctl_report_check_ip(ngx_http_certctl_report_t *report,
    ngx_certctl_stored_t *stored);


/* report/page.c */

/* Reads what call asks for. */
ngx_int_t ngx_http_certctl_report_page(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call);

/* Whether cert, of a group of hosts (NULL: none that is asked for), is one of
   them. */
ngx_uint_t ngx_http_certctl_report_wanted(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert, ngx_array_t *hosts, ngx_uint_t index);

/* Counts one more of the page; 0 when it is full. */
ngx_uint_t ngx_http_certctl_report_next(ngx_http_certctl_report_t *report);

/* Pushes a copy of a name. */
void ngx_http_certctl_report_add_name(ngx_http_certctl_report_t *report,
    ngx_array_t *names, const u_char *data, size_t len);


/* report/server_names.c */

/* Fills hosts, of pool, with the names that clients could ask server for. */
ngx_int_t ngx_http_certctl_report_hosts(ngx_certctl_server_t *server,
    ngx_array_t *hosts, ngx_pool_t *pool);

/* Adds one more; and if it is not among them. */
ngx_int_t ngx_http_certctl_host_add(ngx_array_t *hosts, const char *prefix,
    ngx_str_t *name);
ngx_int_t ngx_http_certctl_report_add_host(ngx_array_t *hosts,
    ngx_str_t *name);

/* Groups those that are served with the same certificate. */
ngx_int_t ngx_http_certctl_report_group(ngx_array_t *hosts);


/* report/entry.c, report/compact.c: visitors that write JSON */

void ngx_http_certctl_report_entry(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    const char *why, ngx_array_t *hosts, ngx_uint_t index);
void ngx_http_certctl_report_compact(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    const char *why, ngx_array_t *hosts, ngx_uint_t index);

/* A server whose ssl_certificate has variables: known in handshakes only. */
void ngx_http_certctl_report_variable(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server);

/* The staple's state, of a certificate with or without its X509. */
ngx_certctl_staple_e ngx_http_certctl_report_staple(
    ngx_http_certctl_report_t *report, ngx_certctl_cert_t *cert);


/* report/warnings.c */

/* Looks for what is to be said of a certificate with this staple. */
void ngx_http_certctl_report_check(ngx_http_certctl_report_t *report,
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
