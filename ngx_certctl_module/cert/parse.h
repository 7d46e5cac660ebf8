
/*
 * Records of the store as a worker uses them: cert/parse.c.
 */

#ifndef _NGX_CERTCTL_PARSE_H_INCLUDED_
#define _NGX_CERTCTL_PARSE_H_INCLUDED_


#include "cert/certctl.h"
#include "cert/key_decoder.h"


typedef struct ngx_certctl_issuer_s  ngx_certctl_issuer_t;


/*
 * A parsed record.  Each name that leads to it, and each connection that was
 * given it, holds a reference; with the last one it goes.
 */

typedef struct {
    ngx_certctl_cert_t        cert;         /* first */
    ngx_str_node_t            node;         /* cert.name, in ... */
    ngx_rbtree_t             *tree;         /* of parser->stored; or NULL */
    ngx_uint_t                refs;
    unsigned                  outdated:1;   /* its record could not be read
                                               since */
    certctl_file_t            file;         /* that it was read from */

    /* of facts: the record's names (see certctl_record_t), and a server that
       serves it while the sum of the names' counters is this */
    ngx_str_t                 names;
    ngx_certctl_server_t     *served_by;
    ngx_atomic_uint_t         served_sum;

    /* who own what cert.chain lists */
    ngx_certctl_issuer_t     *issuers[CERTCTL_CHAIN_DEPTH];
} ngx_certctl_stored_t;


/* What parsed records share. */

typedef struct {
    ngx_rbtree_t              stored[CERTCTL_KINDS];    /* by record's name */
    ngx_rbtree_t              issuers;      /* by digest */
    ngx_rbtree_node_t         sentinel[CERTCTL_KINDS + 1];

    unsigned                  facts:1;      /* neither key, chain nor X509 are
                                               kept: a report's, not served;
                                               and nothing is shared */

    ngx_certctl_key_decoder_t  decoder;
} ngx_certctl_parser_t;


void ngx_certctl_parser_init(ngx_certctl_parser_t *parser, ngx_uint_t facts);
void ngx_certctl_parser_free(ngx_certctl_parser_t *parser);

/*
 * The parsed form of rec, with a reference for the caller: the one that exists
 * when it was read from the same file, else a new one.  NULL with the rule
 * that rec breaks in *why; OpenSSL's error queue stays as it was.
 */
ngx_certctl_stored_t *ngx_certctl_parse(ngx_certctl_parser_t *parser,
    certctl_record_t *rec, const char **why);

/* Gives a reference back; NULL is fine. */
void ngx_certctl_release(ngx_certctl_parser_t *parser,
    ngx_certctl_stored_t *stored);


#endif /* _NGX_CERTCTL_PARSE_H_INCLUDED_ */
