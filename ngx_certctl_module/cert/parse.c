
/*
 * Turns records of the store into X509 and EVP_PKEY objects, cheaply: decoders
 * are made once, issuers and equal records are shared.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/cert.h"
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
ngx_certctl_parser_init(ngx_certctl_parser_t *parser)
{
    ngx_rbtree_init(&parser->stored, &parser->stored_end,
                    ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&parser->issuers, &parser->issuers_end,
                    ngx_str_rbtree_insert_value);
}


void
ngx_certctl_parser_free(ngx_certctl_parser_t *parser)
{
    ngx_certctl_key_decoder_free(&parser->decoder);
}


/* A certificate of unusual shape is OpenSSL's to judge. */

static const char *
ngx_certctl_parse_slowly(ngx_certctl_cert_t *cert, certctl_record_t *rec)
{
    X509          *x509;
    const char    *rule;
    const u_char  *p;

    p = rec->chain.data;

    x509 = certctl_x509_read(&p, rec->chain.len);
    if (x509 == NULL) {
        return "its certificate cannot be read";
    }

    rule = ngx_certctl_cert_fill(cert, x509);

    cert->x509 = NULL;
    X509_free(x509);

    return rule;
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

    if (certctl_x509_facts(rec->chain.data, rec->chain.len, &facts)
        && EVP_Digest(rec->chain.data, facts.len, cert->digest, NULL,
                      EVP_sha256(), NULL)
           == 1)
    {
        certctl_hex(cert->digest, sizeof(cert->digest), cert->fingerprint);

        cert->kind = rec->kind;
        cert->not_before = facts.not_before;
        cert->not_after = facts.not_after;
        cert->must_staple = facts.must_staple;
        cert->ocsp = facts.ocsp;

    } else {
        rule = ngx_certctl_parse_slowly(cert, rec);

        if (rule) {
            return rule;
        }
    }

    cert->staple_withdrawn = (rec->staple_until == CERTCTL_STAPLE_WITHDRAWN);

    if (rec->staple.len) {
        cert->staple_info.next_update = rec->staple_until;
        cert->staple_info.this_update = certctl_ocsp_this_update(
                                            rec->staple.data, rec->staple.len);
    }

    return NULL;
}


/* Length of the DER value at p with its header (X.690 8.1.3). */

static ngx_int_t
ngx_certctl_der_len(const u_char *p, size_t len)
{
    int            tag, class;
    long           body;
    const u_char  *start;

    start = p;

    if (len == 0 || len > LONG_MAX
        || (ASN1_get_object(&p, &body, &tag, &class, len) & 0x80))
    {
        return NGX_ERROR;
    }

    return (p - start) + body;
}


/* A worker has thousands of leaves and a handful of issuers. */

static ngx_certctl_issuer_t *
ngx_certctl_issuer_get(ngx_certctl_parser_t *parser,
    const u_char **p, size_t len)
{
    u_char                 digest[32];
    uint32_t               hash;
    ngx_int_t              n;
    ngx_str_t              key;
    ngx_certctl_issuer_t  *issuer;

    n = ngx_certctl_der_len(*p, len);

    if (n == NGX_ERROR
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
ngx_certctl_parse_staple(ngx_certctl_stored_t *stored,
    certctl_record_t *rec)
{
    if (rec->staple.len == 0) {
        return NULL;
    }

    stored->cert.staple.data = ngx_alloc(rec->staple.len, ngx_cycle->log);
    if (stored->cert.staple.data == NULL) {
        return "no memory";
    }

    stored->cert.staple.len = rec->staple.len;
    stored->cert.staple_withdrawn = (rec->staple_until
                                     == CERTCTL_STAPLE_WITHDRAWN);
    ngx_memcpy(stored->cert.staple.data, rec->staple.data, rec->staple.len);

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
ngx_certctl_free(ngx_certctl_parser_t *parser,
    ngx_certctl_stored_t *stored)
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


static ngx_certctl_stored_t *
ngx_certctl_parse_new(ngx_certctl_parser_t *parser,
    certctl_record_t *rec, const char **why)
{
    size_t                 len, names;
    ngx_certctl_stored_t  *stored;

    len = ngx_strlen(rec->name);
    names = parser->facts ? rec->names.len : 0;

    /* two more bytes than the name: its kind before it, NUL behind */

    stored = ngx_calloc(sizeof(ngx_certctl_stored_t) + len + 2 + names,
                        ngx_cycle->log);
    if (stored == NULL) {
        *why = "no memory";
        return NULL;
    }

    stored->refs = 1;
    stored->file = rec->file;
    stored->node.str.data = (u_char *) (stored + 1);
    ngx_memcpy(stored->node.str.data + 1, rec->name, len + 1);

    if (names) {
        stored->names.len = names;
        stored->names.data = stored->node.str.data + len + 2;
        ngx_memcpy(stored->names.data, rec->names.data, names);
    }

    ERR_set_mark();

    *why = parser->facts ? ngx_certctl_parse_facts(stored, rec)
                         : ngx_certctl_parse_chain(parser, stored, rec);

    if (*why == NULL && !parser->facts) {
        stored->cert.key = ngx_certctl_parse_key(parser,
                                                      stored->cert.x509,
                                                      &rec->key);
        if (stored->cert.key == NULL) {
            *why = "its key cannot be read";

        } else if (X509_check_private_key(stored->cert.x509, stored->cert.key)
                   != 1)
        {
            *why = "its key is not the certificate's";

        } else {
            *why = ngx_certctl_parse_staple(stored, rec);
        }
    }

    ERR_pop_to_mark();

    if (*why) {
        ngx_certctl_free(parser, stored);
        return NULL;
    }

    stored->cert.source = NGX_CERTCTL_STORE;
    stored->cert.generation = rec->generation;
    stored->cert.name.data = stored->node.str.data + 1;
    stored->cert.name.len = len;

    return stored;
}


ngx_certctl_stored_t *
ngx_certctl_parse(ngx_certctl_parser_t *parser,
    certctl_record_t *rec, const char **why)
{
    u_char                 key[sizeof(rec->name) + 1];
    uint32_t               hash;
    ngx_str_t              name;
    ngx_str_node_t        *node;
    ngx_certctl_stored_t  *stored, *known;

    if (parser->facts) {
        return ngx_certctl_parse_new(parser, rec, why);
    }

    known = NULL;
    name.data = key;
    name.len = 1 + ngx_strlen(rec->name);

    key[0] = (rec->kind == CERTCTL_KIND_RSA) ? 'R' : 'E';
    ngx_memcpy(key + 1, rec->name, name.len);

    hash = ngx_crc32_short(name.data, name.len);

    node = ngx_str_rbtree_lookup(&parser->stored, &name, hash);

    if (node) {
        known = (ngx_certctl_stored_t *)
                    ((u_char *) node
                     - offsetof(ngx_certctl_stored_t, node));

        if (known->cert.generation == rec->generation
            && certctl_file_same(&known->file, &rec->file))
        {
            known->refs++;
            return known;
        }
    }

    stored = ngx_certctl_parse_new(parser, rec, why);

    if (stored == NULL) {
        return NULL;
    }

    /* an older copy lives on with those who hold it, but is found no more */

    if (known) {
        ngx_rbtree_delete(&parser->stored, &known->node.node);
        known->node.str.len = 0;
    }

    stored->node.node.key = hash;
    stored->node.str.len = name.len;
    stored->node.str.data[0] = key[0];
    ngx_rbtree_insert(&parser->stored, &stored->node.node);

    return stored;
}


void
ngx_certctl_release(ngx_certctl_parser_t *parser,
    ngx_certctl_stored_t *stored)
{
    if (stored == NULL || --stored->refs > 0) {
        return;
    }

    if (stored->node.str.len) {
        ngx_rbtree_delete(&parser->stored, &stored->node.node);
    }

    ngx_certctl_free(parser, stored);
}
