
/*
 * The map of the control requests, and the way from a request to its row.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "agent/agent.h"
#include "command/command.h"
#include "discover/discover.h"
#include "report/report.h"
#include "x509_rule.h"


#define ARG(name)  (1 << NGX_HTTP_CERTCTL_ARG_ ## name)

#define READ       (NGX_HTTP_GET|NGX_HTTP_HEAD)

#define PEM        "application/x-pem-file"
#define BULK       "application/x-certctl-bulk"
#define OCSP       "application/ocsp-response"
#define TEXT       "text/plain"
#define FORM       "application/x-www-form-urlencoded"
#define CMS        "application/cms"


/*
 * To add a request: 1. a row here, 2. its work in a file of its own, 3. its
 * section in docs/module-protocol.md, 4. good path and refusals in
 * t/45-module-control-*.t.
 */

static const ngx_http_certctl_route_t  ngx_http_certctl_routes[] = {

    { READ, "/status",
      0, NULL, 0, NULL, ngx_http_certctl_report_status },

    { READ, "/metrics",
      0, NULL, 0, NULL, ngx_http_certctl_report_metrics },

    { READ, "/certificates",
      ARG(FORM)|ARG(HOST)|ARG(LIMIT)|ARG(AFTER), NULL, 0,
      ngx_http_certctl_report_etag, ngx_http_certctl_report_certificates },

    { NGX_HTTP_POST, "/certificates",
      0, BULK, CERTCTL_BULK_BODY,
      ngx_http_certctl_bulk_before, ngx_http_certctl_request_bulk },

    { NGX_HTTP_PUT, "/certificates/{name}",
      ARG(KEYGEN), PEM, CERTCTL_CHAIN_MAX,
      NULL, ngx_http_certctl_request_put },

    { NGX_HTTP_DELETE, "/certificates/{name}",
      0, NULL, 0,
      ngx_http_certctl_identity_before, ngx_http_certctl_request_delete },

    { NGX_HTTP_POST, "/certificates/{name}/csr",
      ARG(KEY)|ARG(SAN)|ARG(MUST_STAPLE)|ARG(REUSE_KEY)|ARG(REUSE_PENDING),
      FORM, CERTCTL_CSR_BODY_MAX, NULL, ngx_http_certctl_request_csr },

    { NGX_HTTP_POST, "/certificates/{name}/rollback",
      0, NULL, 0,
      ngx_http_certctl_identity_before, ngx_http_certctl_request_rollback },

    { NGX_HTTP_PUT, "/ocsp/{fingerprint}",
      ARG(NAME), OCSP, CERTCTL_OCSP_MAX, NULL, ngx_http_certctl_request_ocsp },

    { NGX_HTTP_DELETE, "/ocsp/{fingerprint}",
      ARG(NAME), NULL, 0, NULL, ngx_http_certctl_request_ocsp },

    { NGX_HTTP_PUT, "/challenges/http-01/{token}",
      ARG(TTL), TEXT, NGX_CERTCTL_AUTH_MAX,
      NULL, ngx_http_certctl_request_http01 },

    { NGX_HTTP_DELETE, "/challenges/http-01/{token}",
      0, NULL, 0, NULL, ngx_http_certctl_request_http01 },

    { NGX_HTTP_PUT, "/challenges/tls-alpn-01/{identifier}",
      ARG(TTL), TEXT, 64, NULL, ngx_http_certctl_request_tlsalpn },

    { NGX_HTTP_DELETE, "/challenges/tls-alpn-01/{identifier}",
      0, NULL, 0, NULL, ngx_http_certctl_request_tlsalpn },

    { NGX_HTTP_POST, "/sessions/flush",
      0, NULL, 0, NULL, ngx_http_certctl_request_flush },

    { NGX_HTTP_PUT, "/ticket-keys",
      0, CMS, CERTCTL_CHAIN_MAX,
      NULL, ngx_http_certctl_request_put_ticket_keys },

    { NGX_HTTP_PUT, "/trust",
      0, PEM, CERTCTL_CHAIN_MAX,
      NULL, ngx_http_certctl_request_put_trust },

    { NGX_HTTP_POST, "/discover",
      ARG(DIR), NULL, 0, NULL, ngx_http_certctl_request_discover },

    { 0, NULL, 0, NULL, 0, NULL, NULL }
};


/* The texts of Allow, for the methods that a path of the table takes. */

static const struct {
    ngx_uint_t   methods;
    const char  *allow;
} ngx_http_certctl_allow[] = {
    { READ,                         "GET, HEAD" },
    { READ|NGX_HTTP_POST,           "GET, HEAD, POST" },
    { NGX_HTTP_POST,                "POST" },
    { NGX_HTTP_PUT,                 "PUT" },
    { NGX_HTTP_PUT|NGX_HTTP_DELETE, "PUT, DELETE" },
    { 0, NULL }
};


/* Whether p, behind the wire's prefix, fits the pattern, and its {name}. */

static ngx_uint_t
ngx_http_certctl_request_path(const char *pattern, const u_char *p,
    const u_char *last, ngx_str_t *name)
{
    while (*pattern && p < last) {

        if (*pattern != '{') {
            if (*pattern++ != (char) *p++) {
                return 0;
            }

            continue;
        }

        name->data = (u_char *) p;

        while (p < last && *p != '/') {
            p++;
        }

        name->len = p - name->data;

        if (name->len == 0) {
            return 0;
        }

        pattern = strchr(pattern, '}') + 1;
    }

    return *pattern == '\0' && p == last;
}


/* No row has this path and method. */

static ngx_int_t
ngx_http_certctl_request_unknown(ngx_http_certctl_call_t *call,
    ngx_uint_t methods)
{
    ngx_uint_t  i;

    if (methods == 0) {
        return ngx_http_certctl_request_error(call, NGX_HTTP_NOT_FOUND,
                                              "unknown control request");
    }

    for (i = 0; ngx_http_certctl_allow[i].allow; i++) {
        if (ngx_http_certctl_allow[i].methods == methods) {
            call->allow = ngx_http_certctl_allow[i].allow;
        }
    }

    return ngx_http_certctl_request_error(call, NGX_HTTP_NOT_ALLOWED,
                                      "this path does not allow this method");
}


/*
 * Finds the row.  The path is taken as the client wrote it: what NGINX has
 * decoded, merged and resolved may look like a name that was never asked for.
 */

static ngx_int_t
ngx_http_certctl_request_route(ngx_http_certctl_call_t *call)
{
    size_t                           len;
    u_char                          *p, *last;
    ngx_str_t                        name;
    const char                      *rule;
    ngx_uint_t                       methods;
    ngx_http_request_t              *r;
    const ngx_http_certctl_route_t  *route;

    r = call->request;
    p = r->unparsed_uri.data;
    last = ngx_strlchr(p, p + r->unparsed_uri.len, '?');
    last = last ? last : p + r->unparsed_uri.len;

    len = sizeof(CERTCTL_WIRE_PREFIX) - 1;
    methods = 0;
    route = ngx_http_certctl_routes;

    if ((size_t) (last - p) < len
        || ngx_memcmp(p, CERTCTL_WIRE_PREFIX, len) != 0)
    {
        return ngx_http_certctl_request_unknown(call, 0);
    }

    for ( /* void */ ; route->path; route++) {

        ngx_str_null(&name);

        if (ngx_http_certctl_request_path(route->path, p + len, last, &name)) {
            methods |= route->methods;

            if (route->methods & r->method) {
                break;
            }
        }
    }

    if (route->path == NULL) {
        return ngx_http_certctl_request_unknown(call, methods);
    }

    call->route = route;

    rule = name.data ? ngx_http_certctl_request_name(call, name.data, name.len)
                     : NULL;

    if (rule == NULL) {
        rule = ngx_http_certctl_request_args(call, &r->args);
    }

    return rule ? ngx_http_certctl_request_error(call, NGX_HTTP_BAD_REQUEST,
                                                 rule)
                : NGX_OK;
}


/* Whether Content-Type is media, with or without parameters. */

static ngx_uint_t
ngx_http_certctl_request_media(ngx_http_request_t *r, const char *media)
{
    size_t      len;
    ngx_str_t  *type;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;
    len = ngx_strlen(media);

    return type->len >= len
           && ngx_strncasecmp(type->data, (u_char *) media, len) == 0
           && (type->len == len || type->data[len] == ';'
               || type->data[len] == ' ');
}


/* A form may be left out: all of its arguments can stand in the query. */

static ngx_uint_t
ngx_http_certctl_request_has_body(ngx_http_certctl_call_t *call)
{
    ngx_http_request_t  *r;

    r = call->request;

    return call->route->media
           && (ngx_strcmp(call->route->media, FORM) != 0
               || r->headers_in.content_length_n > 0
               || r->headers_in.chunked);
}


/* What can be said of a body before a byte of it is read (RFC 9110 15.5). */

static ngx_int_t
ngx_http_certctl_request_body_rules(ngx_http_certctl_call_t *call)
{
    off_t                            len;
    ngx_http_request_t              *r;
    const ngx_http_certctl_route_t  *route;

    r = call->request;
    route = call->route;
    len = r->headers_in.content_length_n;

    if (!ngx_http_certctl_request_has_body(call)) {
        return len > 0 || r->headers_in.chunked
               ? ngx_http_certctl_request_error(call, NGX_HTTP_BAD_REQUEST,
                                         "this request must not have a body")
               : NGX_OK;
    }

    if (!ngx_http_certctl_request_media(r, route->media)) {
        return ngx_http_certctl_request_error(call,
                   NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                   certctl_rule("Content-Type must be %s", route->media));
    }

    if (len < 0 || r->headers_in.chunked) {
        return ngx_http_certctl_request_error(call, NGX_HTTP_LENGTH_REQUIRED,
                                              "Content-Length is required");
    }

    if (len > (off_t) route->body_max) {
        return ngx_http_certctl_request_error(call,
                   NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                   certctl_rule("the body must not exceed %zu bytes",
                                route->body_max));
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_certctl_request_handler(ngx_http_request_t *r)
{
    const char               *rule;
    ngx_http_certctl_call_t  *call;

    if (r != r->main) {
        return NGX_HTTP_NOT_FOUND;
    }

    call = ngx_http_certctl_request_create(r);
    if (call == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rule = ngx_http_certctl_agent_auth(r);

    if (rule) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "certctl: control request refused: %s", rule);

        ngx_http_certctl_request_error(call, NGX_HTTP_FORBIDDEN, rule);

    } else if (ngx_http_certctl_request_route(call) == NGX_OK
               && ngx_http_certctl_request_body_rules(call) == NGX_OK)
    {
        ngx_http_certctl_request_if_match(call);

        if (call->route->before) {
            call->route->before(call);
        }
    }

    if (call->status) {
        return ngx_http_certctl_request_answer(call);
    }

    if (ngx_http_certctl_request_has_body(call)) {
        return ngx_http_certctl_request_read_body(call);
    }

    r->main->count++;
    ngx_http_certctl_request_run(call);

    return NGX_DONE;
}
