
/*
 * Certificates in an operator's own files: what the files of this room share.
 */

#ifndef _NGX_HTTP_CERTCTL_DISCOVER_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_DISCOVER_H_INCLUDED_


#include <openssl/pkcs12.h>
#include "call/call.h"
#include "x509_rule.h"


/* Limits of one discovery. */
#define NGX_HTTP_CERTCTL_SCAN_FILE     (1024 * 1024)
#define NGX_HTTP_CERTCTL_SCAN_FILES    10000
#define NGX_HTTP_CERTCTL_SCAN_CERTS    20000
#define NGX_HTTP_CERTCTL_SCAN_DEPTH    16
#define NGX_HTTP_CERTCTL_SCAN_TIME     10000    /* milliseconds */
#define NGX_HTTP_CERTCTL_SCAN_ANSWER   (128 * 1024 * 1024)
#define NGX_HTTP_CERTCTL_SCAN_LEFT     1000     /* files named as left out */

#define NGX_HTTP_CERTCTL_FILE_KEYS     16       /* compared, of one file */


/* Limits that a discovery has reached, as the answer names them. */

#define NGX_HTTP_CERTCTL_DISCOVERY_LIMITS(X)                                  \
    X(FILES,        "files")                                                  \
    X(CERTIFICATES, "certificates")                                           \
    X(DEPTH,        "depth")                                                  \
    X(TIME,         "time")                                                   \
    X(ANSWER,       "answer")                                                 \
    X(LEFT_OUT,     "left_out")

typedef enum {
#define X(NAME, text)  NGX_HTTP_CERTCTL_DISCOVERY_ ## NAME,
    NGX_HTTP_CERTCTL_DISCOVERY_LIMITS(X)
#undef X
    NGX_HTTP_CERTCTL_DISCOVERY_MAX
} ngx_http_certctl_discovery_limit_e;


/* A private key: of its public half a digest. */

typedef struct {
    const char             *name;       /* of its file */
    mode_t                  mode;
    u_char                  spki[32];
    unsigned                known:1;    /* 0: encrypted, not to be read, or one
                                           too many */
} ngx_http_certctl_key_t;


/* A file, and what it contains. */

typedef struct {
    const char             *name;       /* in its directory */
    struct stat             st;
    u_char                 *data;       /* of st.st_size; wiped when freed */

    const char             *format;     /* "pem", "der", "pkcs12"; or NULL */
    const char             *why;        /* it was not understood, or NULL */
    char                    text[CERTCTL_RULE_MAX];
    STACK_OF(X509)         *certs;      /* owned; NULL when there are none */

    ngx_http_certctl_key_t  key[NGX_HTTP_CERTCTL_FILE_KEYS + 1];
    ngx_uint_t              keys;       /* with one more than are compared */
    int64_t                 work;       /* iterations to open its PKCS#12 */
} ngx_http_certctl_file_t;


/* One discovery: a thread's own. */

typedef struct {
    ngx_http_certctl_json_t   *json;
    ngx_http_certctl_json_t    left;    /* files left out, with the reason */
    ngx_uint_t                 nleft;
    ngx_uint_t                 limits;  /* bits */

    ngx_uint_t                 files;
    ngx_uint_t                 certs;
    int64_t                    deadline;    /* milliseconds, monotonic */

    int                        root;    /* the allowed directory */
    const char                *real;    /* its real path */

    char                       path[PATH_MAX];  /* that is being read */
} ngx_http_certctl_scan_t;


/* discover/open_dir.c */

/* Whether path is dir or below it; both real paths. */
ngx_uint_t ngx_http_certctl_is_inside(const char *dir, const char *path);

/* Opens a directory, unless name is a link; -1 with errno. */
int ngx_http_certctl_open_dir(int parent, const char *name);

/* The same of a real path that is root's or below; no link on the way is
   followed. */
int ngx_http_certctl_open_path(ngx_http_certctl_scan_t *scan,
    const char *path);

/*
 * Reads file->name of directory fd, which is scan->path: a regular file of at
 * most NGX_HTTP_CERTCTL_SCAN_FILE bytes, or a link to one below the root.
 * Nothing else is opened.  Returns NULL, or the reason why it is left out.
 */
const char *ngx_http_certctl_file_read(ngx_http_certctl_scan_t *scan, int fd,
    ngx_http_certctl_file_t *file);

/* discover/read_file.c */

/* Adds what the file's data contains: its certificates, or its keys. */
void ngx_http_certctl_file_parse(ngx_http_certctl_file_t *file,
    ngx_uint_t keys);

/* Takes x509; NULL is none. */
void ngx_http_certctl_file_add_cert(ngx_http_certctl_file_t *file, X509 *x509);

/* Adds key; NULL is one that stays unknown. */
void ngx_http_certctl_file_add_key(ngx_http_certctl_file_t *file,
    EVP_PKEY *key);

void ngx_http_certctl_file_free(ngx_http_certctl_file_t *file);

/* SHA-256 of key's SubjectPublicKeyInfo, as OpenSSL writes it. */
ngx_int_t ngx_http_certctl_spki(EVP_PKEY *key, u_char digest[32]);

/* discover/pkcs12.c */

/* What an empty password opens of a PKCS#12 file: certificates, or keys. */
void ngx_http_certctl_pkcs12(ngx_http_certctl_file_t *file, PKCS12 *p12,
    ngx_uint_t keys);

/* discover/file_json.c */

/* The answer's entry for the file at scan->path, with keys beside it. */
void ngx_http_certctl_file_json(ngx_http_certctl_scan_t *scan,
    ngx_http_certctl_file_t *file, ngx_http_certctl_key_t *beside,
    ngx_uint_t nbeside);

/* discover/scan.c */

/* Reads the directory scan->path and those below it, and closes fd. */
void ngx_http_certctl_scan(ngx_http_certctl_scan_t *scan, int fd);

/* Milliseconds that only go forward. */
int64_t ngx_http_certctl_monotonic(void);


/* The directive certctl_discover: discover/discover.c. */
char *ngx_http_certctl_discover(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* The request: runs on a thread. */
void ngx_http_certctl_request_discover(ngx_http_certctl_call_t *call);


#endif /* _NGX_HTTP_CERTCTL_DISCOVER_H_INCLUDED_ */
