
/* One certificate in the report. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "x509_chain.h"


/* A server may have thousands of names, and each certificate of it an entry. */
#define NGX_HTTP_CERTCTL_NAMES_MAX  100


/* How many were left out. */

static ngx_uint_t
ngx_http_certctl_entry_strings(ngx_http_certctl_json_t *json, const char *key,
    ngx_array_t *strings)
{
    ngx_str_t   *string;
    ngx_uint_t   i, n;

    string = strings->elts;
    n = ngx_min(strings->nelts, NGX_HTTP_CERTCTL_NAMES_MAX);
    ngx_http_certctl_json_open(json, key, '[');

    for (i = 0; i < n; i++) {
        ngx_http_certctl_json_string(json, NULL, string[i].data,
                                     string[i].len);
    }

    ngx_http_certctl_json_close(json, ']');

    return strings->nelts - n;
}


static void
ngx_http_certctl_entry_server(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    ngx_array_t *hosts, ngx_uint_t index)
{
    ngx_uint_t                 i, n, left;
    ngx_http_certctl_json_t   *json;
    ngx_http_certctl_host_t   *host;

    json = report->json;

    ngx_http_certctl_json_open(json, "server", '{');
    ngx_http_certctl_json_string(json, "file", server->file.data,
                                 server->file.len);
    ngx_http_certctl_json_number(json, "line", server->line);
    ngx_http_certctl_json_text(json, "protocol", server->protocol);
    left = ngx_http_certctl_entry_strings(json, "names", &server->names);

    if (left) {
        ngx_http_certctl_json_number(json, "names_left_out", left);
    }

    (void) ngx_http_certctl_entry_strings(json, "listen", &server->listens);
    ngx_http_certctl_json_flag(json, "agent", server->agent);
    ngx_http_certctl_json_close(json, '}');

    if (cert == NULL) {
        return;
    }

    host = hosts->elts;
    ngx_http_certctl_json_open(json, "served_names", '[');

    i = index;
    n = 0;
    left = 0;

    do {
        if (host[i].name.len && n++ >= NGX_HTTP_CERTCTL_NAMES_MAX) {
            left++;

        } else if (host[i].name.len) {
            ngx_http_certctl_json_string(json, NULL, host[i].name.data,
                                         host[i].name.len);
        }

        i = host[i].next[cert->kind];

    } while (i);

    ngx_http_certctl_json_close(json, ']');

    if (left) {
        ngx_http_certctl_json_number(json, "served_names_left_out", left);
    }
}


/* PEM, leaf first. */

static void
ngx_http_certctl_entry_chain(ngx_http_certctl_json_t *json,
    ngx_certctl_cert_t *cert)
{
    char            *pem;
    STACK_OF(X509)  *chain;

    chain = cert->chain ? sk_X509_dup(cert->chain) : sk_X509_new_null();

    if (chain == NULL || sk_X509_unshift(chain, cert->x509) == 0) {
        sk_X509_free(chain);
        json->failed = 1;
        return;
    }

    pem = certctl_chain_to_pem(chain);

    if (pem) {
        ngx_http_certctl_json_text(json, "pem", pem);
        OPENSSL_free(pem);

    } else {
        json->failed = 1;
    }

    sk_X509_free(chain);
}


/* A file that was changed since NGINX has read it. */

static void
ngx_http_certctl_entry_file(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert)
{
    u_char      digest[32], hex[2 * sizeof(digest)];
    ngx_uint_t  differs;

    if (cert->source != NGX_CERTCTL_STATIC
        || ngx_http_certctl_report_file((char *) cert->name.data, digest)
           != NGX_OK)
    {
        return;
    }

    ngx_hex_dump(hex, digest, sizeof(digest));
    differs = ngx_memcmp(digest, cert->digest, sizeof(digest)) != 0;

    ngx_http_certctl_json_string(report->json, "file_fingerprint", hex,
                                 sizeof(hex));
    ngx_http_certctl_json_flag(report->json, "file_differs", differs);

    if (differs) {
        ngx_http_certctl_report_warn(report,
            NGX_HTTP_CERTCTL_WARN_FILE_DIFFERS, &cert->name,
            "differs from the certificate that NGINX loaded: reload NGINX to "
            "use it");
    }
}


static void
ngx_http_certctl_entry_staple(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert)
{
    char                      url[512];
    ngx_http_certctl_json_t  *json;
    ngx_certctl_staple_e      state;

    json = report->json;
    state = ngx_http_certctl_report_staple(report, cert);

    ngx_http_certctl_report_check(report, server, cert, state);

    ngx_http_certctl_json_open(json, "staple", '{');
    ngx_http_certctl_json_text(json, "state",
                               ngx_certctl_staple_text[state]);

    if (cert->staple_good) {
        ngx_http_certctl_json_time(json, "this_update",
                                   cert->staple_info.this_update);
        ngx_http_certctl_json_time(json, "next_update",
                                   cert->staple_info.next_update);
        ngx_http_certctl_json_number(json, "next_update_seconds",
                                     cert->staple_info.next_update);
    }

    certctl_x509_ocsp_url(cert->x509, url, sizeof(url));

    if (url[0]) {
        ngx_http_certctl_json_text(json, "ocsp_url", url);
    }

    ngx_http_certctl_json_close(json, '}');
}


void
ngx_http_certctl_report_entry(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    const char *why, ngx_array_t *hosts, ngx_uint_t index)
{
    time_t                    last;
    uint64_t                  handshakes;
    ngx_http_certctl_json_t  *json;

    json = report->json;

    ngx_http_certctl_json_open(json, NULL, '{');

    if (server) {
        ngx_http_certctl_entry_server(report, server, cert, hosts, index);
    }

    ngx_http_certctl_json_string(json,
                                 cert->source == NGX_CERTCTL_STORE
                                 ? "name" : "file",
                                 cert->name.data, cert->name.len);
    ngx_http_certctl_json_text(json, "source",
                               ngx_certctl_source_text[cert->source]);
    ngx_http_certctl_json_text(json, "why", why ? why : "");
    ngx_http_certctl_json_text(json, "kind",
                               cert->kind == CERTCTL_KIND_RSA ? "rsa"
                                                              : "ecdsa");
    ngx_http_certctl_json_number(json, "generation", cert->generation);
    ngx_http_certctl_json_flag(json, "has_private_key", cert->key != NULL);

    ngx_http_certctl_json_x509(json, cert->x509, cert->fingerprint);
    ngx_http_certctl_entry_chain(json, cert);
    ngx_http_certctl_entry_file(report, cert);
    ngx_http_certctl_entry_staple(report, server, cert);

    ngx_certctl_zone_used(report->full.zone, cert->digest, &handshakes, &last);

    ngx_http_certctl_json_number(json, "handshakes", handshakes);
    ngx_http_certctl_json_time(json, "last_served", last);
    ngx_http_certctl_json_close(json, '}');
}


void
ngx_http_certctl_report_variable(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server)
{
    ngx_http_certctl_json_open(report->json, NULL, '{');
    ngx_http_certctl_entry_server(report, server, NULL, NULL, 0);
    ngx_http_certctl_json_text(report->json, "source",
        ngx_certctl_source_text[NGX_CERTCTL_VARIABLE]);
    (void) ngx_http_certctl_entry_strings(report->json, "expressions",
                                          server->expressions);
    ngx_http_certctl_json_close(report->json, '}');
}
