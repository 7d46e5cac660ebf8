
/*
 * A chain on its way into the store: what a PUT brings, and each part of a
 * bulk request.  Threads only.
 */

#ifndef _NGX_HTTP_CERTCTL_PUT_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_PUT_H_INCLUDED_


#include "command/command.h"
#include "x509_accept.h"
#include "x509_rule.h"


typedef struct {
    ngx_http_certctl_main_conf_t  *mcf;

    /* what is asked */
    char                           name[CERTCTL_NAME_MAX + 1];
    ngx_str_t                      pem;       /* of the body */
    ngx_uint_t                     keygen;    /* the key is in the body */
    char                           if_match[NGX_HTTP_CERTCTL_IF_MATCH];

    /* the result */
    ngx_uint_t                     status;    /* 0: not known yet */
    const char                    *rule;      /* that is broken */
    char                           text[CERTCTL_RULE_MAX];
    int                            err;       /* errno of a failure */
    uint64_t                       generation;
    const char                    *done;      /* for the log; NULL: no change */
    char                           warning[CERTCTL_RULE_MAX];
                                              /* of the trial; "": none */

    /* of the body, when it was checked */
    struct certctl_accepted        chain;
    certctl_blob_t                 key;       /* keygen: as stored */

    /* of the store */
    certctl_record_t               old;
    certctl_pending_t              pending;
    certctl_record_t               record;    /* what is to be stored: points
                                                 into all of the above, but
                                                 owns its staple */
    unsigned                       has_old:1;
    unsigned                       newer_staple:1;  /* ... is kept */
    unsigned                       identity:1;  /* the name is "_agent" */
} ngx_http_certctl_put_t;


/* What needs nothing of the store.  NGX_OK, or status and rule are filled. */
ngx_int_t ngx_http_certctl_put_check(ngx_http_certctl_put_t *put);

/* Against what is stored; may be repeated.  NGX_OK: put->record is to be put;
   else status is filled: the chain is live already, or may not be stored. */
ngx_int_t ngx_http_certctl_put_fit(ngx_http_certctl_put_t *put);

/* Takes what the store answered; not CERTCTL_STORE_CONFLICT. */
void ngx_http_certctl_put_stored(ngx_http_certctl_put_t *put, int rc,
    uint64_t generation);

/* Fits and stores a chain that was checked; again if there are other writes. */
void ngx_http_certctl_put_commit(ngx_http_certctl_put_t *put);

/* The members of the answer for a chain that is live; sets fingerprint. */
void ngx_http_certctl_put_answer(ngx_http_certctl_put_t *put,
    ngx_http_certctl_json_t *json, char *fingerprint);

void ngx_http_certctl_put_free(ngx_http_certctl_put_t *put);


/* command/put_pem.c */

/* Parses CA certificates for certctl_chain_accept(). */
extern const struct certctl_chain_keep  ngx_http_certctl_keep_ca;

/* NULL, or the rule that is broken. */

/* Fills put->key, and key, which is to be freed. */
const char *ngx_http_certctl_put_take_key(ngx_http_certctl_put_t *put,
    struct certctl_pem_bundle *bundle, EVP_PKEY **key);

/* Fills the staple of put->record: it goes live with the certificate. */
const char *ngx_http_certctl_put_take_staple(ngx_http_certctl_put_t *put,
    struct certctl_pem_bundle *bundle);


/* command/put_identity.c: NULL, or the rule why a chain may not be the control
   listener's identity, or its key not be used for a site. */

const char *ngx_http_certctl_put_identity(ngx_http_certctl_put_t *put);


/* command/put_ip.c: NULL, or a warning: no client without SNI gets it. */

const char *ngx_http_certctl_put_ip(ngx_http_certctl_put_t *put);


#endif /* _NGX_HTTP_CERTCTL_PUT_H_INCLUDED_ */
