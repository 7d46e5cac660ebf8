
/*
 * Pending ACME challenges of this host: a fixed table in the shared zone.
 *
 * A reader takes no lock: it copies a slot and compares the slot's sequence
 * before and after.  The writers' lock is the process id of its holder: the
 * next writer takes it over from a process that was killed, and wipes the slot
 * that was left half written.
 */

#ifndef _NGX_CERTCTL_CHALLENGE_H_INCLUDED_
#define _NGX_CERTCTL_CHALLENGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_CERTCTL_CHALLENGES       512

/* Seconds that a challenge stays pending, unless the request says so. */
#define NGX_CERTCTL_CHALLENGE_TTL      3600
#define NGX_CERTCTL_CHALLENGE_TTL_MAX  86400

#define NGX_CERTCTL_TOKEN_MAX        128
#define NGX_CERTCTL_THUMBPRINT       43    /* SHA-256 in base64url, RFC 7638 */
#define NGX_CERTCTL_AUTH_MAX                                                  \
    (NGX_CERTCTL_TOKEN_MAX + 1 + NGX_CERTCTL_THUMBPRINT)

/* An IPv6 address as a reverse name is shorter: RFC 8738 6. */
#define NGX_CERTCTL_HOST_MAX         253


typedef enum {
    NGX_CERTCTL_HTTP_01 = 1,
    NGX_CERTCTL_TLS_ALPN_01
} ngx_certctl_challenge_e;


/*
 * One challenge and its answer.  Without pointers, as it is copied into and out
 * of shared memory.
 */

typedef struct {
    ngx_certctl_challenge_e  type;
    time_t                   expires;

    /* HTTP-01: the token.  TLS-ALPN-01: the SNI, in lower case. */
    size_t                   key_len;
    u_char                   key[NGX_CERTCTL_HOST_MAX];

    /* HTTP-01: the key authorization.  TLS-ALPN-01: its SHA-256, 32 bytes. */
    size_t                   value_len;
    u_char                   value[NGX_CERTCTL_AUTH_MAX];

    /* of an IP identifier, in network order; 0, 4 or 16 bytes */
    size_t                   addr_len;
    u_char                   addr[16];
} ngx_certctl_challenge_t;


typedef struct {
    ngx_atomic_t             sequence;      /* odd: being written */
    ngx_certctl_challenge_t  challenge;     /* type 0: free */
} ngx_certctl_challenge_slot_t;


typedef struct {
    ngx_atomic_t                  writer;   /* process id; 0: unlocked */
    ngx_atomic_t                  answered;

    /* a hash of the key in each slot, 0: free; finds a slot quickly */
    ngx_atomic_t                  tags[NGX_CERTCTL_CHALLENGES];

    ngx_certctl_challenge_slot_t  slots[NGX_CERTCTL_CHALLENGES];
} ngx_certctl_challenges_t;


/*
 * Adds challenge, or replaces the one of its type and key; whatever has
 * expired is wiped.  NGX_DECLINED: the table is full; NGX_AGAIN: other writers
 * held the lock for a second.  May sleep: to be called on a thread.
 */
ngx_int_t ngx_certctl_challenge_put(ngx_certctl_challenges_t *table,
    ngx_certctl_challenge_t *challenge, time_t now);

/* Wipes the one of its type and key; NGX_OK too when there is none.  NGX_AGAIN
   as above; may sleep. */
ngx_int_t ngx_certctl_challenge_delete(ngx_certctl_challenges_t *table,
    ngx_certctl_challenge_t *challenge, time_t now);

/*
 * Copies the pending challenge to *ret, or returns NGX_DECLINED.  Waits at most
 * as long as a writer needs for one slot; a challenge that is being written is
 * not pending yet.
 */
ngx_int_t ngx_certctl_challenge_find(ngx_certctl_challenges_t *table,
    ngx_certctl_challenge_e type, u_char *key, size_t len, time_t now,
    ngx_certctl_challenge_t *ret);

/* Frees the lock of a writer that was killed; called when a worker starts. */
void ngx_certctl_challenge_recover(ngx_certctl_challenges_t *table);

/* How many are pending at now. */
ngx_uint_t ngx_certctl_challenge_count(ngx_certctl_challenges_t *table,
    time_t now);

/* Token (RFC 8555 8.3): 1 to 128 characters of base64url. */
ngx_uint_t ngx_certctl_challenge_token(const u_char *p, size_t len);

/*
 * Sets key, and addr of an IP identifier, from a DNS name or the text of an IP
 * address (RFC 8738 4 and 6).  NGX_ERROR when text is neither.
 */
ngx_int_t ngx_certctl_challenge_identifier(ngx_certctl_challenge_t *challenge,
    const char *text);


#endif /* _NGX_CERTCTL_CHALLENGE_H_INCLUDED_ */
