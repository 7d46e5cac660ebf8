
/*
 * Certificates in an operator's own files: what the walk, the readers of the
 * formats and the answer of a discovery share.
 */

#ifndef _NGX_HTTP_CERTCTL_DISCOVER_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_DISCOVER_H_INCLUDED_


#include <openssl/pkcs12.h>
#include "call/call.h"
#include "x509_rule.h"


/* Limits of one discovery. */
#define NGX_HTTP_CERTCTL_WALK_FILE     (1024 * 1024)
#define NGX_HTTP_CERTCTL_WALK_FILES    10000
#define NGX_HTTP_CERTCTL_WALK_CERTS    20000
#define NGX_HTTP_CERTCTL_WALK_DEPTH    16
#define NGX_HTTP_CERTCTL_WALK_TIME     10000    /* milliseconds */
#define NGX_HTTP_CERTCTL_WALK_ANSWER   (128 * 1024 * 1024)
#define NGX_HTTP_CERTCTL_WALK_LEFT     1000     /* files named as left out */

#define NGX_HTTP_CERTCTL_FOUND_KEYS    16       /* looked at in one file */


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


/* What a file holds.  Of a private key only its public half's digest. */

typedef struct {
    const char      *format;        /* "pem", "der", "pkcs12"; NULL: none */
    const char      *why;           /* it was not understood, or NULL */
    char             text[CERTCTL_RULE_MAX];
    STACK_OF(X509)  *certs;         /* owned; NULL when there are none */

    u_char           spki[NGX_HTTP_CERTCTL_FOUND_KEYS][32];
    ngx_uint_t       keys;
    int64_t          work;          /* iterations to open its PKCS#12 */
    unsigned         unknown:1;     /* a key is encrypted, or one too many */
} ngx_http_certctl_found_t;


/* A private key that lies in the folder under a key's name. */

typedef struct {
    const char      *name;          /* borrowed from the folder's list */
    mode_t           mode;
    u_char           spki[32];
    unsigned         known:1;       /* 0: encrypted, or not to be read */
} ngx_http_certctl_key_file_t;


/* One walk: a thread's own. */

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

    char                       path[PATH_MAX];  /* where the walk is */
    size_t                     len;
} ngx_http_certctl_walk_t;


/* discover/open_dir.c */

/* Whether path is dir or below it; both real paths. */
ngx_uint_t ngx_http_certctl_is_inside(const char *dir, const char *path);

/* The folder with the real path, which is root's or below; no link on the way
   is followed.  -1 with errno; the caller closes it. */
int ngx_http_certctl_open_dir(ngx_http_certctl_walk_t *walk,
    const char *path);

/*
 * Reads name of folder fd, which is walk->path: a regular file of at most
 * NGX_HTTP_CERTCTL_WALK_FILE bytes, or a link to one below the root.  Nothing
 * else is opened.  NULL and the file in *data, to be freed with
 * ngx_http_certctl_file_free(); else the reason.
 */
const char *ngx_http_certctl_file_read(ngx_http_certctl_walk_t *walk, int fd,
    const char *name, struct stat *st, u_char **data);

/* Wipes and frees. */
void ngx_http_certctl_file_free(u_char *data);

/* discover/read_file.c: found is zeroed by the caller */

void ngx_http_certctl_found_certs(ngx_http_certctl_found_t *found,
    const u_char *data, size_t len);
void ngx_http_certctl_found_keys(ngx_http_certctl_found_t *found,
    const u_char *data, size_t len);
void ngx_http_certctl_found_add(ngx_http_certctl_found_t *found, X509 *x509);
void ngx_http_certctl_found_key(ngx_http_certctl_found_t *found,
    EVP_PKEY *key);
void ngx_http_certctl_found_free(ngx_http_certctl_found_t *found);

/* SHA-256 of key's SubjectPublicKeyInfo, as OpenSSL writes it. */
ngx_int_t ngx_http_certctl_spki(EVP_PKEY *key, u_char digest[32]);

/* discover/pkcs12.c */

/* What an empty password opens of a PKCS#12 file: certificates, or keys. */
void ngx_http_certctl_pkcs12(ngx_http_certctl_found_t *found, PKCS12 *p12,
    ngx_uint_t keys);

/* discover/found.c */

/* The answer's entry for the file at walk->path. */
void ngx_http_certctl_discover_entry(ngx_http_certctl_walk_t *walk,
    const char *name, struct stat *st, ngx_http_certctl_found_t *found,
    ngx_http_certctl_key_file_t *beside, ngx_uint_t nbeside);

/* discover/walk_dir.c */

/* Walks the folder walk->path, closes fd. */
void ngx_http_certctl_walk(ngx_http_certctl_walk_t *walk, int fd);

/* Milliseconds that only go forward. */
int64_t ngx_http_certctl_walk_now(void);


/* The directive certctl_discover: discover/discover.c. */
char *ngx_http_certctl_discover(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* The request: runs on a thread. */
void ngx_http_certctl_request_discover(ngx_http_certctl_call_t *call);


#endif /* _NGX_HTTP_CERTCTL_DISCOVER_H_INCLUDED_ */
