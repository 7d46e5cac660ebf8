
/*
 * What the HTTP and the stream module share: the store with its parsed copies,
 * the servers that have certctl on, and how a certificate is chosen.
 */

#ifndef _NGX_CERTCTL_H_INCLUDED_
#define _NGX_CERTCTL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "zone/compat.h"
#include "store/store.h"
#include "zone/zone.h"

#include "wire.h"
#include "x509_info.h"
#include "x509_ocsp.h"


/* Where a served certificate came from, and how its staple is. */

typedef enum {
#define X(NAME, text)  NGX_CERTCTL_ ## NAME,
    CERTCTL_SOURCES(X)
#undef X
    NGX_CERTCTL_SOURCES
} ngx_certctl_source_e;

typedef enum {
#define X(NAME, text)  NGX_CERTCTL_STAPLE_ ## NAME,
    CERTCTL_STAPLE_STATES(X)
#undef X
    NGX_CERTCTL_STAPLE_STATES
} ngx_certctl_staple_e;

extern const char  *ngx_certctl_source_text[NGX_CERTCTL_SOURCES];
extern const char  *ngx_certctl_staple_text[NGX_CERTCTL_STAPLE_STATES];


typedef struct ngx_certctl_s         ngx_certctl_t;
typedef struct ngx_certctl_server_s  ngx_certctl_server_t;
typedef struct ngx_certctl_cache_s   ngx_certctl_cache_t;


/* A certificate's message of TLS 1.3, compressed (RFC 8879). */

#define NGX_CERTCTL_COMPRESSED  4           /* places by algorithm, from 1 on */

typedef struct {
    u_char                     *data;       /* OpenSSL's */
    size_t                      len;        /* 0: none */
    size_t                      full;       /* length of the message */
} ngx_certctl_compressed_t;


/*
 * One certificate with all that is known of it: parsed from the store, or
 * borrowed from the configuration (static ones, the placeholder).
 */

typedef struct {
    X509                       *x509;
    EVP_PKEY                   *key;
    STACK_OF(X509)             *chain;      /* without the leaf; may be NULL */

    certctl_kind_e              kind;
    ngx_certctl_source_e        source;
    ngx_str_t                   name;       /* record or file;
                                               NUL-terminated */
    uint64_t                    generation; /* of the record, else 0 */

    time_t                      not_before;
    time_t                      not_after;
    char                        fingerprint[CERTCTL_HEX256];
    u_char                      digest[32]; /* the same, not in hex */

    unsigned                    ocsp:1;     /* names a responder */
    unsigned                    must_staple:1;

    /* DER; staple_info is set once it was checked and found good */
    ngx_str_t                   staple;
    unsigned                    staple_good:1;
    unsigned                    staple_withdrawn:1;
    struct certctl_ocsp_info    staple_info;
    time_t                      staple_bad;     /* when it was found so */

    ngx_certctl_compressed_t   *compressed; /* NULL: not made yet */

    time_t                      staple_read;    /* when it was last read */
    ngx_atomic_uint_t           staple_seen;    /* and its counter then */
} ngx_certctl_cert_t;


/* What a handshake may use: at most one certificate of each key type. */

typedef struct {
    ngx_certctl_cert_t         *cert[CERTCTL_KINDS];
    ngx_certctl_cert_t         *second[CERTCTL_KINDS];  /* for clients that do
                                               not support cert's key type */
    const char                 *why;        /* a sentence, for the report */
    unsigned                    named:1;    /* stored for the name, or named by
                                               certctl_certificate */
} ngx_certctl_choice_t;


/* What NGINX gives a client of an address, before it knows the name. */

typedef struct {
    SSL_CTX                    *ctx;
    ngx_certctl_server_t       *server;     /* NULL where certctl is off */
    int                       (*cert_cb)(SSL *ssl, void *arg);
    void                       *cert_arg;   /* of ssl_certificate with
                                               variables, else NULL */
} ngx_certctl_context_t;


/* One server{} that is served over TLS and has certctl on or certctl_agent. */

struct ngx_certctl_server_s {
    ngx_certctl_t                 *certctl;
    SSL_CTX                       *ctx;     /* NGINX's, lives with the cycle */
    const char                    *protocol;    /* "http" or "stream" */

    ngx_str_t                      file;    /* of its server{}, and line */
    ngx_uint_t                     line;
    ngx_array_t                    names;   /* ngx_str_t: server_name, copied,
                                               lower case, "" left out */
    ngx_array_t                    reached; /* u_char: whether NGINX finds this
                                               server by the name, or an
                                               earlier one */
    ngx_array_t                    listens; /* ngx_str_t: "127.0.0.1:443" */

    ngx_str_t                      pinned;  /* certctl_certificate, or "" */
    ngx_array_t                   *commands;    /* of ssl_conf_command, or
                                                   NULL */
    ngx_uint_t                     settings;    /* place in certctl->settings;
                                                   tls/hello.c */

    /* of the configuration: static, placeholder; empty with variables; of the
       default server where there is no ssl_certificate */
    ngx_array_t                    certs;   /* ngx_certctl_cert_t */
    ngx_array_t                   *expressions;
                                            /* ngx_str_t: ssl_certificate with
                                               variables, else NULL */

    /* without ssl_certificate, and default server of none of its addresses */
    ngx_certctl_server_t          *by_default;  /* of the first address; NULL
                                               where certctl is off */
    ngx_array_t                    contexts;    /* ngx_certctl_context_t: of the
                                               default servers that have an
                                               ssl_certificate */

    /* what was there before us, for handshakes without a certificate of ours */
    int                          (*cert_cb)(SSL *ssl, void *arg);
    void                          *cert_arg;
    int                          (*status_cb)(SSL *ssl, void *arg);
    void                          *status_arg;

    unsigned                       agent:1; /* serves the agent's identity */
    unsigned                       reject:1;    /* ssl_reject_handshake on */
    unsigned                       placeholder:1;
    unsigned                       first:1; /* for clients without SNI */
};


/*
 * One configuration's view of the store.  The HTTP module's main configuration
 * owns it; stream servers, which no control request reaches, borrow it.
 */

struct ngx_certctl_s {
    certctl_store_t            *store;      /* opened in the master with the
                                               zone, after postconfiguration;
                                               NULL in nginx -t */
    ngx_certctl_zone_t         *zone;       /* NULL during configuration */
    ngx_atomic_uint_t           number;     /* of this one, in the zone */

    ngx_uint_t                  cache_max;
    ngx_certctl_cache_t        *cache;      /* a worker's parsed copies */
    ngx_certctl_cache_t        *facts;      /* and what its reports know */
    ngx_atomic_t                facts_busy; /* used by a thread */

    SSL_CTX                    *acme;       /* of TLS-ALPN-01 handshakes */
    ngx_array_t                 sessions;   /* of all TLS servers, see
                                               tls/sessions.c */
    uint64_t                    flushed;    /* the epoch that they follow */
    ngx_msec_t                  flushed_at; /* ... since when */

    unsigned                    ticket_keys:1;  /* of the store, in a server */
    time_t                      ticket_interval;
    ngx_uint_t                  ticket_keep;
    EVP_CIPHER                 *ticket_cipher;
    certctl_ticket_set_t       *tickets;    /* a worker's copy, or NULL */
    ngx_atomic_uint_t           tickets_seen;   /* the zone's counter then */
    time_t                      tickets_read;

    X509_STORE                 *trust;      /* who may command: certctl_trust,
                                               NULL without; and with the CAs
                                               that controllers have sent, a
                                               worker's copy, NULL: no others */
    X509_STORE                 *trusted;
    STACK_OF(X509_NAME)        *trust_names;
    STACK_OF(X509_NAME)        *trusted_names;
    ngx_atomic_uint_t           trust_seen; /* the zone's counter then */
    time_t                      trust_read;

    ngx_cycle_t                *cycle;
    ngx_array_t                 servers;    /* ngx_certctl_server_t * */
    ngx_array_t                 addresses;  /* see tls/address.h */
    ngx_array_t                 settings;   /* of them, each once; in a worker:
                                               tls/hello.c */
};


/* cert/cert.c */

/* Fills what x509 says of itself; zeroes the rest.  x509 stays the caller's.
   NULL, or the rule that x509 breaks. */
const char *ngx_certctl_cert_fill(ngx_certctl_cert_t *cert, X509 *x509);

/* Describes the current certificate of ctx, a static one; nothing of it is
   owned, and X509 objects that NGINX made are never changed. */
void ngx_certctl_cert_borrow(ngx_certctl_cert_t *cert, SSL_CTX *ctx);

/* Frees the staple, the only thing a borrowed certificate owns. */
void ngx_certctl_cert_unstaple(ngx_certctl_cert_t *cert);

/* Frees its compressed forms. */
void ngx_certctl_cert_uncompress(ngx_certctl_cert_t *cert);

/* Whether cert may be served at now. */
ngx_uint_t ngx_certctl_cert_valid(ngx_certctl_cert_t *cert, time_t now);


/* cert/cache.c */

/*
 * The answer for a record, DNS or IP name has changed: every worker reads the
 * store again at its next handshake.  Atomic operations only, so from any
 * thread.  A certctl_changed_pt; data is the certctl.
 */
void ngx_certctl_invalidate(const char *name, void *data);

/* The record of this name, or NULL; borrowed until the next lookup.  Event loop
   only. */
ngx_certctl_cert_t *ngx_certctl_record(ngx_certctl_t *certctl,
    ngx_str_t *name);


/* tls/choose.c */

/*
 * What server would give a client that asks for name now; with "" as for a
 * client without SNI.  The certificates are borrowed until the next call of
 * this or of a lookup.  There may be none: ssl_certificate with variables.
 */
void ngx_certctl_choose(ngx_certctl_server_t *server, ngx_str_t *name,
    ngx_certctl_choice_t *ret);


/* tls/staple.c */

/* State of cert's staple at now; a static one's is read again if it changed. */
ngx_certctl_staple_e ngx_certctl_staple_state(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, time_t now);

/* The first static certificate with this fingerprint (SHA-256), or NULL. */
ngx_certctl_cert_t *ngx_certctl_static(ngx_certctl_t *certctl,
    const u_char *digest);


#endif /* _NGX_CERTCTL_H_INCLUDED_ */
