
/*
 * Turns records of the store into X509 and EVP_PKEY objects, cheaply: decoders
 * are made once, issuers and equal records are shared.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/parse.h"
#include "x509_facts.h"
#include "x509_read.h"


struct ngx_certctl_issuer_s {
    ngx_str_node_t   node;                  /* digest */
    X509            *x509;
    ngx_uint_t       refs;
    u_char           digest[32];
};


void
ngx_certctl_parser_init(ngx_certctl_parser_t *parser, ngx_uint_t facts)
{
    ngx_uint_t  i;

    parser->facts = facts;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        ngx_rbtree_init(&parser->stored[i], &parser->sentinel[i],
                        ngx_str_rbtree_insert_value);
    }

    ngx_rbtree_init(&parser->issuers, &parser->sentinel[i],
                    ngx_str_rbtree_insert_value);
}


void
ngx_certctl_parser_free(ngx_certctl_parser_t *parser)
{
    ngx_certctl_key_decoder_free(&parser->decoder);
}


/*
 * What a report without details asks for.  The staple was checked when it was
 * stored, and is sealed: its time tells its state.
 */

static const char *
ngx_certctl_parse_facts(ngx_certctl_stored_t *stored, certctl_record_t *rec)
{
    const char                 *rule;
    ngx_certctl_cert_t         *cert;
    struct certctl_x509_facts   facts;

    cert = &stored->cert;

    rule = certctl_x509_facts_read(rec->chain.data, rec->chain.len, &facts);
    if (rule) {
        return rule;
    }

    if (EVP_Digest(rec->chain.data, facts.len, cert->digest, NULL,
                   EVP_sha256(), NULL)
        != 1)
    {
        return "no memory";
    }

    certctl_hex(cert->digest, sizeof(cert->digest), cert->fingerprint);

    cert->kind = rec->kind;
    cert->not_before = facts.not_before;
    cert->not_after = facts.not_after;
    cert->must_staple = facts.must_staple;
    cert->ocsp = facts.ocsp;
    cert->staple_withdrawn = (rec->staple_until == CERTCTL_STAPLE_WITHDRAWN);

    if (rec->staple.len) {
        cert->staple_info.next_update = rec->staple_until;
        cert->staple_info.this_update = certctl_ocsp_this_update(
                                            rec->staple.data, rec->staple.len);
    }

    return NULL;
}


/* A worker has thousands of leaves and a handful of issuers. */

static ngx_certctl_issuer_t *
ngx_certctl_issuer_get(ngx_certctl_parser_t *parser,
    const u_char **p, size_t len)
{
    u_char                 digest[32];
    uint32_t               hash;
    size_t                 n;
    ngx_str_t              key;
    ngx_certctl_issuer_t  *issuer;

    n = certctl_der_len(*p, len);

    if (n == 0
        || EVP_Digest(*p, n, digest, NULL, EVP_sha256(), NULL) != 1)
    {
        return NULL;
    }

    key.len = sizeof(digest);
    key.data = digest;
    ngx_memcpy(&hash, digest, sizeof(hash));

    issuer = (ngx_certctl_issuer_t *)
                 ngx_str_rbtree_lookup(&parser->issuers, &key, hash);

    if (issuer) {
        *p += n;
        issuer->refs++;
        return issuer;
    }

    issuer = ngx_calloc(sizeof(ngx_certctl_issuer_t), ngx_cycle->log);
    if (issuer == NULL) {
        return NULL;
    }

    issuer->x509 = d2i_X509(NULL, p, n);
    if (issuer->x509 == NULL) {
        ngx_free(issuer);
        return NULL;
    }

    ngx_memcpy(issuer->digest, digest, sizeof(digest));
    issuer->refs = 1;
    issuer->node.node.key = hash;
    issuer->node.str.len = sizeof(digest);
    issuer->node.str.data = issuer->digest;
    ngx_rbtree_insert(&parser->issuers, &issuer->node.node);

    return issuer;
}


static const char *
ngx_certctl_parse_chain(ngx_certctl_parser_t *parser,
    ngx_certctl_stored_t *stored, certctl_record_t *rec)
{
    X509                  *x509;
    ngx_uint_t             n;
    const u_char          *p, *end;
    const char            *rule;
    ngx_certctl_issuer_t  *issuer;

    p = rec->chain.data;
    end = p + rec->chain.len;

    x509 = certctl_x509_read(&p, end - p);
    if (x509 == NULL) {
        return "its certificate cannot be read";
    }

    rule = ngx_certctl_cert_fill(&stored->cert, x509);
    if (rule) {
        return rule;
    }

    stored->cert.chain = sk_X509_new_null();
    if (stored->cert.chain == NULL) {
        return "no memory";
    }

    for (n = 0; p < end; n++) {

        if (n == CERTCTL_CHAIN_DEPTH) {
            return "its chain is too long";
        }

        issuer = ngx_certctl_issuer_get(parser, &p, end - p);
        if (issuer == NULL) {
            return "its chain cannot be read";
        }

        stored->issuers[n] = issuer;

        if (sk_X509_push(stored->cert.chain, issuer->x509) == 0) {
            return "no memory";
        }
    }

    return NULL;
}


static EVP_PKEY *
ngx_certctl_parse_key(ngx_certctl_parser_t *parser, X509 *x509,
    certctl_blob_t *der)
{
    EVP_PKEY      *key;
    const u_char  *p;

    key = ngx_certctl_decode_key(&parser->decoder, der->data, der->len,
                                 X509_get0_pubkey(x509));
    p = der->data;

    return key ? key : d2i_AutoPrivateKey(NULL, &p, der->len);
}


/* It is checked when a client first asks for it, and then by the clock. */

static const char *
ngx_certctl_parse_staple(ngx_certctl_cert_t *cert, certctl_record_t *rec)
{
    if (rec->staple.len == 0) {
        return NULL;
    }

    cert->staple.data = ngx_alloc(rec->staple.len, ngx_cycle->log);
    if (cert->staple.data == NULL) {
        return "no memory";
    }

    cert->staple.len = rec->staple.len;
    cert->staple_withdrawn = (rec->staple_until == CERTCTL_STAPLE_WITHDRAWN);
    ngx_memcpy(cert->staple.data, rec->staple.data, rec->staple.len);

    return NULL;
}


static void
ngx_certctl_issuer_put(ngx_certctl_parser_t *parser,
    ngx_certctl_issuer_t *issuer)
{
    if (--issuer->refs == 0) {
        ngx_rbtree_delete(&parser->issuers, &issuer->node.node);
        X509_free(issuer->x509);
        ngx_free(issuer);
    }
}


static void
ngx_certctl_free(ngx_certctl_parser_t *parser, ngx_certctl_stored_t *stored)
{
    ngx_uint_t  i;

    for (i = 0; i < CERTCTL_CHAIN_DEPTH && stored->issuers[i]; i++) {
        ngx_certctl_issuer_put(parser, stored->issuers[i]);
    }

    sk_X509_free(stored->cert.chain);
    X509_free(stored->cert.x509);
    EVP_PKEY_free(stored->cert.key);
    ngx_certctl_cert_unstaple(&stored->cert);
    ngx_certctl_cert_uncompress(&stored->cert);

    ngx_free(stored);
}


static const char *
ngx_certctl_parse_all(ngx_certctl_parser_t *parser,
    ngx_certctl_stored_t *stored, certctl_record_t *rec)
{
    const char          *rule;
    ngx_certctl_cert_t  *cert;

    cert = &stored->cert;

    rule = ngx_certctl_parse_chain(parser, stored, rec);
    if (rule) {
        return rule;
    }

    cert->key = ngx_certctl_parse_key(parser, cert->x509, &rec->key);
    if (cert->key == NULL) {
        return "its key cannot be read";
    }

    if (X509_check_private_key(cert->x509, cert->key) != 1) {
        return "its key is not the certificate's";
    }

    return ngx_certctl_parse_staple(cert, rec);
}


static ngx_certctl_stored_t *
ngx_certctl_parse_new(ngx_certctl_parser_t *parser,
    certctl_record_t *rec, const char **why)
{
    u_char                *p;
    size_t                 len, names;
    ngx_certctl_stored_t  *stored;

    len = ngx_strlen(rec->name);
    names = parser->facts ? rec->names.len : 0;

    stored = ngx_calloc(sizeof(ngx_certctl_stored_t) + len + 1 + names,
                        ngx_cycle->log);
    if (stored == NULL) {
        *why = "no memory";
        return NULL;
    }

    stored->refs = 1;
    stored->file = rec->file;

    ERR_set_mark();

    *why = parser->facts ? ngx_certctl_parse_facts(stored, rec)
                         : ngx_certctl_parse_all(parser, stored, rec);

    ERR_pop_to_mark();

    if (*why) {
        ngx_certctl_free(parser, stored);
        return NULL;
    }

    p = (u_char *) (stored + 1);

    stored->cert.source = NGX_CERTCTL_STORE;
    stored->cert.generation = rec->generation;
    stored->cert.name.data = p;
    stored->cert.name.len = len;
    p = ngx_cpymem(p, rec->name, len + 1);

    if (names) {
        stored->names.len = names;
        stored->names.data = p;
        ngx_memcpy(p, rec->names.data, names);
    }

    return stored;
}


ngx_certctl_stored_t *
ngx_certctl_parse(ngx_certctl_parser_t *parser,
    certctl_record_t *rec, const char **why)
{
    uint32_t               hash;
    ngx_str_t              name;
    ngx_rbtree_t          *tree;
    ngx_str_node_t        *node;
    ngx_certctl_stored_t  *stored, *known;

    if (parser->facts) {
        return ngx_certctl_parse_new(parser, rec, why);
    }

    name.data = (u_char *) rec->name;
    name.len = ngx_strlen(rec->name);

    hash = ngx_crc32_short(name.data, name.len);
    tree = &parser->stored[rec->kind];
    node = ngx_str_rbtree_lookup(tree, &name, hash);

    known = node ? (ngx_certctl_stored_t *)
                       ((u_char *) node - offsetof(ngx_certctl_stored_t, node))
                 : NULL;

    if (known && known->cert.generation == rec->generation
        && certctl_file_same(&known->file, &rec->file))
    {
        known->refs++;
        return known;
    }

    stored = ngx_certctl_parse_new(parser, rec, why);

    if (stored == NULL) {
        return NULL;
    }

    /* an older copy lives while it has references, but is found no more */

    if (known) {
        ngx_rbtree_delete(tree, &known->node.node);
        known->tree = NULL;
    }

    stored->tree = tree;
    stored->node.node.key = hash;
    stored->node.str = stored->cert.name;
    ngx_rbtree_insert(tree, &stored->node.node);

    return stored;
}


void
ngx_certctl_release(ngx_certctl_parser_t *parser, ngx_certctl_stored_t *stored)
{
    if (stored == NULL || --stored->refs > 0) {
        return;
    }

    if (stored->tree) {
        ngx_rbtree_delete(stored->tree, &stored->node.node);
    }

    ngx_certctl_free(parser, stored);
}
