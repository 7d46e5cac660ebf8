
/* The certificates report: what its walk and its entries share. */

#ifndef _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_


#include "ngx_http_certctl_agent.h"


typedef struct {
    ngx_http_certctl_json_t       *json;
    ngx_http_certctl_main_conf_t   mcf;      /* a copy, with its own cache */
    ngx_pool_t                    *pool;
    time_t                         now;
    ngx_array_t                    seen;     /* ngx_str_t: records served */
    ngx_uint_t                     failed;
} ngx_http_certctl_report_t;


/* A name that a client may ask a server for, and what it is given. */

typedef struct {
    ngx_str_t                      name;
    u_char                         given[CERTCTL_KINDS];
    u_char                         digest[CERTCTL_KINDS][32];
} ngx_http_certctl_asked_t;


/* Whether both names are given the same certificate of kind. */
ngx_uint_t ngx_http_certctl_report_same(ngx_http_certctl_asked_t *one,
    ngx_http_certctl_asked_t *two, ngx_uint_t kind);

/* cert as server, or nobody (NULL), gives it: to the names of asked that get
   the same as the one with the index. */
void ngx_http_certctl_report_entry(ngx_http_certctl_report_t *report,
    ngx_http_certctl_server_t *server, ngx_http_certctl_cert_t *cert,
    const char *why, ngx_array_t *asked, ngx_uint_t index);

/* A server whose ssl_certificate has variables: known at each handshake only. */
void ngx_http_certctl_report_variable(ngx_http_certctl_report_t *report,
    ngx_http_certctl_server_t *server);


#endif /* _NGX_HTTP_CERTCTL_REPORT_H_INCLUDED_ */
