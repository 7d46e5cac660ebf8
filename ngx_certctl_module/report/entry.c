
/* One certificate in the report: in full, or compact, as pollers compare it. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"

#include <openssl/pem.h>


/* A server may have thousands of names, and each certificate of it an entry. */
#define NGX_HTTP_CERTCTL_NAMES_MAX  100

#define NGX_HTTP_CERTCTL_PEM_MAX    1048576


/* Strings but empty ones, and under left_key how many are left out. */

static void
ngx_http_certctl_entry_strings(ngx_http_certctl_json_t *json, const char *key,
    const char *left_key, ngx_array_t *strings)
{
    ngx_str_t   *string;
    ngx_uint_t   i, n;

    string = strings->elts;
    n = 0;

    ngx_http_certctl_json_open(json, key, '[');

    for (i = 0; i < strings->nelts; i++) {

        if (string[i].len && n++ < NGX_HTTP_CERTCTL_NAMES_MAX) {
            ngx_http_certctl_json_string(json, NULL, string[i].data,
                                         string[i].len);
        }
    }

    ngx_http_certctl_json_close(json, ']');

    if (left_key && n > NGX_HTTP_CERTCTL_NAMES_MAX) {
        ngx_http_certctl_json_number(json, left_key,
                                     n - NGX_HTTP_CERTCTL_NAMES_MAX);
    }
}


static void
ngx_http_certctl_entry_server(ngx_http_certctl_json_t *json,
    ngx_certctl_server_t *server)
{
    ngx_http_certctl_json_open(json, "server", '{');
    ngx_http_certctl_json_string(json, "file", server->file.data,
                                 server->file.len);
    ngx_http_certctl_json_number(json, "line", server->line);
    ngx_http_certctl_json_text(json, "protocol", server->protocol);
    ngx_http_certctl_entry_strings(json, "names", "names_left_out",
                                   &server->names);
    ngx_http_certctl_entry_strings(json, "listen", NULL, &server->listens);
    ngx_http_certctl_json_flag(json, "agent", server->agent);
    ngx_http_certctl_json_close(json, '}');
}


static void
ngx_http_certctl_entry_name(ngx_http_certctl_json_t *json,
    ngx_certctl_cert_t *cert)
{
    ngx_http_certctl_json_string(json,
                                 cert->source == NGX_CERTCTL_STORE
                                 ? "name" : "file",
                                 cert->name.data, cert->name.len);
}


/* SHA-256 of the first certificate in a PEM file, as it is on the disk now.
   NGX_DECLINED when there is none that can be read. */

static ngx_int_t
ngx_http_certctl_entry_digest(const char *path, u_char *digest)
{
    int           fd;
    FILE         *file;
    X509         *x509;
    ngx_int_t     rc;
    struct stat   st;

    /* a fifo in its place must not block the thread */

    fd = open(path, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

    if (fd == -1) {
        return NGX_DECLINED;
    }

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)
        || st.st_size > NGX_HTTP_CERTCTL_PEM_MAX
        || (file = fdopen(fd, "r")) == NULL)
    {
        (void) close(fd);
        return NGX_DECLINED;
    }

    ERR_set_mark();

    /* with a password OpenSSL does not ask the terminal for one */

    x509 = PEM_read_X509_AUX(file, NULL, NULL, "");
    rc = (x509 && X509_digest(x509, EVP_sha256(), digest, NULL) == 1)
         ? NGX_OK : NGX_DECLINED;

    ERR_pop_to_mark();
    X509_free(x509);
    (void) fclose(file);

    return rc;
}


/* A file that was changed since NGINX has read it. */

static void
ngx_http_certctl_entry_file(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert)
{
    u_char      digest[32], hex[2 * sizeof(digest)];
    ngx_uint_t  differs;

    if (cert->source != NGX_CERTCTL_STATIC
        || ngx_http_certctl_entry_digest((char *) cert->name.data, digest)
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
        ngx_http_certctl_report_warn(report, "file_differs", &cert->name,
            "differs from the certificate that NGINX loaded: reload NGINX to "
            "use it");
    }
}


ngx_certctl_staple_e
ngx_http_certctl_report_staple(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert)
{
    time_t  until;

    if (cert->x509) {
        return ngx_certctl_staple_state(&report->full, cert, report->now);
    }

    if (cert->staple_withdrawn) {
        return NGX_CERTCTL_STAPLE_WITHDRAWN;
    }

    until = cert->staple_info.next_update;

    if (until == 0) {
        return cert->ocsp ? NGX_CERTCTL_STAPLE_MISSING
                          : NGX_CERTCTL_STAPLE_NOT_APPLICABLE;
    }

    /* thisUpdate, too: the clock may have been set back since */

    return report->now < ngx_min(until, cert->not_after)
           && cert->staple_info.this_update
              <= report->now + NGX_HTTP_CERTCTL_REPORT_SKEW
           ? NGX_CERTCTL_STAPLE_FRESH : NGX_CERTCTL_STAPLE_STALE;
}


static void
ngx_http_certctl_entry_staple(ngx_http_certctl_json_t *json,
    ngx_certctl_cert_t *cert, ngx_certctl_staple_e staple)
{
    char  url[512];

    ngx_http_certctl_json_open(json, "staple", '{');
    ngx_http_certctl_json_text(json, "state", ngx_certctl_staple_text[staple]);

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
ngx_http_certctl_entry_full(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry)
{
    time_t                    last;
    uint64_t                  handshakes;
    ngx_certctl_cert_t       *cert;
    ngx_certctl_staple_e      staple;
    ngx_http_certctl_json_t  *json;

    json = report->json;
    cert = entry->cert;
    staple = ngx_http_certctl_report_staple(report, cert);

    ngx_http_certctl_json_open(json, NULL, '{');

    if (entry->server) {
        ngx_http_certctl_entry_server(json, entry->server);
        ngx_http_certctl_entry_strings(json, "served_names",
                                       "served_names_left_out",
                                       &entry->names);
    }

    ngx_http_certctl_entry_name(json, cert);
    ngx_http_certctl_json_text(json, "source",
                               ngx_certctl_source_text[cert->source]);
    ngx_http_certctl_json_text(json, "why", entry->why ? entry->why : "");
    ngx_http_certctl_json_text(json, "kind",
                               cert->kind == CERTCTL_KIND_RSA ? "rsa"
                                                              : "ecdsa");
    ngx_http_certctl_json_number(json, "generation", cert->generation);
    ngx_http_certctl_json_flag(json, "has_private_key", cert->key != NULL);

    ngx_http_certctl_json_x509(json, cert->x509, cert->fingerprint);
    ngx_http_certctl_json_pem(json, cert->x509, cert->chain);
    ngx_http_certctl_entry_file(report, cert);
    ngx_http_certctl_entry_staple(json, cert, staple);

    ngx_certctl_zone_used(report->conf->zone, cert->digest, &handshakes,
                          &last);

    ngx_http_certctl_json_number(json, "handshakes", handshakes);
    ngx_http_certctl_json_time(json, "last_served", last);
    ngx_http_certctl_json_close(json, '}');

    ngx_http_certctl_report_check(report, entry->server, cert, staple);
}


void
ngx_http_certctl_entry_compact(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry)
{
    ngx_certctl_cert_t       *cert;
    ngx_certctl_staple_e      staple;
    ngx_http_certctl_json_t  *json;

    json = report->json;
    cert = entry->cert;
    staple = ngx_http_certctl_report_staple(report, cert);

    ngx_http_certctl_json_open(json, NULL, '{');
    ngx_http_certctl_entry_name(json, cert);
    ngx_http_certctl_json_text(json, "fingerprint", cert->fingerprint);
    ngx_http_certctl_json_time(json, "not_after", cert->not_after);
    ngx_http_certctl_json_text(json, "source",
                               ngx_certctl_source_text[cert->source]);
    ngx_http_certctl_json_text(json, "staple",
                               ngx_certctl_staple_text[staple]);

    if (cert->staple_info.next_update) {
        ngx_http_certctl_json_number(json, "staple_next_update",
                                     cert->staple_info.next_update);
    }

    if (entry->server) {
        ngx_http_certctl_json_number(json, "line", entry->server->line);
    }

    ngx_http_certctl_json_close(json, '}');

    ngx_http_certctl_report_check(report, entry->server, cert, staple);
}


void
ngx_http_certctl_entry_variable(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server)
{
    ngx_http_certctl_json_open(report->json, NULL, '{');
    ngx_http_certctl_entry_server(report->json, server);
    ngx_http_certctl_json_text(report->json, "source",
        ngx_certctl_source_text[NGX_CERTCTL_VARIABLE]);
    ngx_http_certctl_entry_strings(report->json, "expressions", NULL,
                                   server->expressions);
    ngx_http_certctl_json_close(report->json, '}');
}
