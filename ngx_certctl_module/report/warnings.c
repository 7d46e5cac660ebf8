
/* What a report is loud about: its "warnings". */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "cert/parse.h"
#include "x509_usage.h"

#include <openssl/pem.h>


#define NGX_HTTP_CERTCTL_REPORT_WARNINGS  100
#define NGX_HTTP_CERTCTL_PEM_MAX          1048576


static const char  *ngx_http_certctl_warning_codes[] = {
#define X(NAME, text)  text,
    NGX_HTTP_CERTCTL_WARNINGS(X)
#undef X
};


void
ngx_http_certctl_report_warn(ngx_http_certctl_report_t *report,
    ngx_http_certctl_warning_e code, ngx_str_t *name, const char *text)
{
    size_t                      len;
    ngx_http_certctl_warned_t  *warned;

    if (report->warnings.nelts == NGX_HTTP_CERTCTL_REPORT_WARNINGS) {
        report->warnings_left_out++;
        return;
    }

    len = name->len + ngx_strlen(text) + sizeof("\"\" ");

    warned = ngx_array_push(&report->warnings);

    if (warned == NULL) {
        report->failed = 1;
        return;
    }

    warned->code = code;
    warned->text.len = 0;
    warned->text.data = ngx_pnalloc(report->pool, len);

    if (warned->text.data == NULL) {
        report->failed = 1;
        return;
    }

    warned->text.len = ngx_snprintf(warned->text.data, len, "\"%V\" %s",
                                    name, text)
                       - warned->text.data;
}


/* One that was deleted since it was listed is no loss. */

void
ngx_http_certctl_report_unreadable(ngx_http_certctl_report_t *report,
    ngx_str_t *name)
{
    int               rc;
    certctl_record_t  rec;

    rc = certctl_store_read(report->conf->store, (char *) name->data, &rec);

    if (rc == CERTCTL_STORE_OK) {
        certctl_record_free(&rec);

    } else if (rc != CERTCTL_STORE_NOT_FOUND) {
        ngx_http_certctl_report_warn(report, NGX_HTTP_CERTCTL_WARN_UNREADABLE,
            name, rc == CERTCTL_STORE_DAMAGED
                  ? "is damaged on disk: push its certificate again"
                  : "cannot be read from disk");
    }
}


void
ngx_http_certctl_report_check(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    ngx_certctl_staple_e staple)
{
    u_char       text[256];
    const char  *usage;

    /* a static one may have a staple that NGINX itself has fetched */

    if (cert->must_staple
        && staple != NGX_CERTCTL_STAPLE_FRESH
        && !(server && server->status_cb
             && cert->source != NGX_CERTCTL_STORE))
    {
        ngx_http_certctl_report_warn(report,
            NGX_HTTP_CERTCTL_WARN_MUST_STAPLE, &cert->name,
            "must be stapled (RFC 7633), but has no valid staple: clients that "
            "enforce this refuse it");
    }

    usage = cert->x509 ? certctl_usage_warning(cert->x509) : NULL;

    if (server && usage) {
        *ngx_snprintf(text, sizeof(text) - 1, "loses clients: %s", usage)
            = '\0';
        ngx_http_certctl_report_warn(report, NGX_HTTP_CERTCTL_WARN_KEY_USAGE,
                                     &cert->name, (char *) text);
    }

    if (server && cert->not_after <= report->now) {
        ngx_http_certctl_report_warn(report, NGX_HTTP_CERTCTL_WARN_EXPIRED,
                                     &cert->name,
                                     "is served, but has expired");
    }

    /* the report's own copy is of the record as it last was whole */

    if (cert->source == NGX_CERTCTL_STORE
        && ((ngx_certctl_stored_t *) cert)->outdated)
    {
        ngx_http_certctl_report_unreadable(report, &cert->name);
    }
}


void
ngx_http_certctl_report_warnings(ngx_http_certctl_report_t *report)
{
    ngx_uint_t                  i;
    ngx_http_certctl_json_t    *json;
    ngx_http_certctl_warned_t  *warned;

    json = report->json;
    warned = report->warnings.elts;

    ngx_http_certctl_json_open(json, "warnings", '[');

    for (i = 0; i < report->warnings.nelts; i++) {
        ngx_http_certctl_json_open(json, NULL, '{');
        ngx_http_certctl_json_text(json, "code",
                          ngx_http_certctl_warning_codes[warned[i].code]);
        ngx_http_certctl_json_string(json, "text", warned[i].text.data,
                                     warned[i].text.len);
        ngx_http_certctl_json_close(json, '}');
    }

    ngx_http_certctl_json_close(json, ']');
    ngx_http_certctl_json_number(json, "warnings_left_out",
                                 report->warnings_left_out);
}


/* Without it OpenSSL would ask a terminal. */

static int
ngx_http_certctl_no_password(char *buf, int size, int rwflag, void *data)
{
    return -1;
}


ngx_int_t
ngx_http_certctl_report_file(const char *path, u_char *digest)
{
    int           fd;
    FILE         *file;
    X509         *x509;
    struct stat   st;

    /* a fifo in its place must not hold the thread */

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

    x509 = PEM_read_X509_AUX(file, NULL, ngx_http_certctl_no_password, NULL);

    (void) fclose(file);
    ERR_pop_to_mark();

    if (x509 == NULL || X509_digest(x509, EVP_sha256(), digest, NULL) != 1) {
        X509_free(x509);
        return NGX_DECLINED;
    }

    X509_free(x509);

    return NGX_OK;
}
