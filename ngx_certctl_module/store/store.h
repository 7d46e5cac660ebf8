
/*
 * The store: one sealed file per certificate, safe to read in any process and
 * to write from any thread.  POSIX and OpenSSL only, so that it can be tested
 * and fuzzed outside NGINX; nothing here logs, and nothing allocates from a
 * pool, because writes run on thread pools.
 */

#ifndef _NGX_CERTCTL_STORE_H_INCLUDED_
#define _NGX_CERTCTL_STORE_H_INCLUDED_


#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/stat.h>

#include <openssl/types.h>


#define CERTCTL_STORE_OK           0
#define CERTCTL_STORE_NOT_FOUND   -1
#define CERTCTL_STORE_DAMAGED     -2    /* truncated, flipped, of another host
                                           or name: see below */
#define CERTCTL_STORE_FULL        -3    /* ENOSPC, EDQUOT */
#define CERTCTL_STORE_ERROR       -4    /* see errno: EINVAL for a record
                                           that makes no sense, EFBIG,
                                           ETIMEDOUT when another writer
                                           locks this name for 10 s */
#define CERTCTL_STORE_CONFLICT    -5    /* another write came first */
#define CERTCTL_STORE_OLDER       -6    /* a later staple is kept */

/*
 * Reading changes nothing, so that it needs no lock and works on a read-only
 * disk: a damaged record stays where it is, an error for each of its readers,
 * until the write that replaces it moves it to damaged/.  Only deletion on
 * request removes it.
 */


/* A name has at most one record of each kind: a client may know only RSA. */

typedef enum {
    CERTCTL_KIND_ECDSA = 0,             /* and Ed25519 */
    CERTCTL_KIND_RSA,
    CERTCTL_KINDS
} certctl_kind_e;


typedef struct {
    u_char      *data;
    size_t       len;
} certctl_blob_t;


/* Which file was read, to notice its replacement. */

typedef struct {
    dev_t            dev;
    ino_t            ino;
    struct timespec  mtime;
} certctl_file_t;


#define CERTCTL_BLOBS  4

/* What one file holds.  All blobs point into buf. */

typedef struct {
    char            type;               /* of the file; the store sets it */
    char            name[254];
    uint64_t        generation;         /* grows with each write of it */
    int64_t         stored;             /* when, in seconds since 1970 */
    certctl_kind_e  kind;
    unsigned        reused_key:1;

    const struct certctl_leaf  *leaf;   /* for put(): of the first in chain,
                                           when the caller has validated it;
                                           NULL: put() reads it */
    int64_t         staple_until;       /* nextUpdate, or WITHDRAWN */

    union {
        certctl_blob_t      blob[CERTCTL_BLOBS];

        struct {
            certctl_blob_t  chain;      /* DER certificates, leaf first, one
                                           behind the other */
            certctl_blob_t  key;        /* PKCS#8 DER */
            certctl_blob_t  staple;     /* DER OCSP response, may be empty */
            certctl_blob_t  names;      /* when read: its DNS and IP names in
                                           lower case, and its fingerprint,
                                           NUL-terminated */
        };
    };

    u_char          spki[32];           /* SHA-256, authenticated; put() works
                                           it out from the leaf */

    u_char         *buf;                /* wiped by certctl_record_free() */
    size_t          buf_len;

    certctl_file_t  file;
} certctl_record_t;


/* A key and request that wait for their certificate. */

typedef struct {
    char            name[254];
    char            key_type[16];
    int64_t         made;
    u_char          spki[32];           /* SHA-256, when read */
    certctl_blob_t  key;
    certctl_blob_t  csr;                /* DER */
    certctl_blob_t  sans;               /* its names, as certctl_csr_sans()
                                           writes them, with their NUL */
    u_char         *buf;
    size_t          buf_len;
} certctl_pending_t;


typedef struct certctl_store_s  certctl_store_t;


/*
 * Opens path.  With create, makes what is missing: the folder, those in it
 * owned by uid and gid (the workers'), the sealing key and host id (readable by
 * the caller only); and finishes what a writer that was killed left.  Refuses
 * permissions that are too open, and a lost sealing key where there are
 * records.  To be called by the master before workers drop privileges; children
 * inherit the open store.  uid and gid count when the caller is root; uid
 * (uid_t) -1 is root.
 *
 * Without create (nginx -t) nothing is changed, and what is missing is no
 * error: reads of such a store answer NOT_FOUND, writes ERROR.
 * NULL with a sentence in why (of size why_len).
 */
certctl_store_t *certctl_store_open(const char *path, int create, uid_t uid,
    gid_t gid, char *why, size_t why_len);
void certctl_store_close(certctl_store_t *store);     /* wipes the key */

/*
 * A writer that was killed may have changed names without calling changed.  The
 * next writer of the record, or certctl_store_heal(), finishes its write and
 * calls fn: the answer of any name may be another now.  So does the writer that
 * replaces or deletes a damaged record, as its names are not known.  To be set
 * before there are threads; called at once if certctl_store_open() has healed.
 */
void certctl_store_on_heal(certctl_store_t *store, void (*fn)(void *data),
    void *data);
void certctl_store_heal(certctl_store_t *store);

/* Whether a write of this record has begun and not ended, maybe never will. */
int certctl_store_unfinished(certctl_store_t *store, const char *name);

/* Whether text may name a record: [A-Za-z0-9._*-]{1,253}, not "." nor "..". */
int certctl_name_valid(const u_char *text, size_t len);


/* Reading.  On OK ret is filled, to be freed with certctl_record_free(). */

int certctl_store_read(certctl_store_t *store, const char *name,
    certctl_record_t *ret);

/*
 * The record whose certificate carries the DNS or IP name, or has the SHA-256
 * fingerprint (lower-case hex).  Of several the valid before the expired, then
 * the latest notBefore, then the name that is first in byte order.
 */
int certctl_store_find(certctl_store_t *store, certctl_kind_e kind,
    const char *name, certctl_record_t *ret);

/* Whether find() tries record first for this kind and DNS or IP name; NULL:
   whether it tries any.  1, 0.  No file is read: it may find another one. */
int certctl_store_tries_first(certctl_store_t *store, certctl_kind_e kind,
    const char *name, const char *record);

/* Whether the record of this name is in this file, which was read: 1, 0. */
int certctl_store_is_file(certctl_store_t *store, const char *name,
    const certctl_file_t *file);
/* Whether two were one file: 1, 0. */
int certctl_file_same(const certctl_file_t *one, const certctl_file_t *other);

/* Name, kind, time, public key and leaf of a record that is to be put. */
void certctl_record_fill(certctl_record_t *record, const char *name,
    const struct certctl_leaf *leaf);
void certctl_record_free(certctl_record_t *rec);

/* Calls fn with the name of every record, until it returns non-zero. */
int certctl_store_each(certctl_store_t *store,
    int (*fn)(const char *name, void *data), void *data);


/* The size of its files, in bytes, without those that are removed meanwhile or
   cannot be examined. */
uint64_t certctl_store_bytes(certctl_store_t *store);


/*
 * Writing: temporary file, fsync, rename, fsync of the folder, then names/.
 * Each returns a code above, sets *generation to the record's new one, and on
 * failure leaves what was there.  changed, which may be NULL, is called with
 * the record's own name and every DNS or IP name whose answer may have changed
 * (its old and new names), after a reader gets the new answer, and before the
 * lock is removed by which a killed writer is noticed.
 */

typedef void (*certctl_changed_pt)(const char *name, void *data);

/*
 * What a write may ask of the record that it replaces: to be of this
 * generation, or to be none, or none that can be read.  Else it is a CONFLICT;
 * 0 asks nothing.
 */
#define CERTCTL_STORE_NONE  UINT64_MAX

/*
 * Stores rec (name, chain, key, kind, reused_key, staple); what was there
 * becomes the previous version, certs/<hash>/<name>~.  The generation in rec is
 * the one that it replaces.
 */
int certctl_store_put(certctl_store_t *store, const certctl_record_t *rec,
    uint64_t *generation, certctl_changed_pt changed, void *data);

/*
 * put() for up to CERTCTL_STORE_MANY records of different names, which share
 * their waits for the disk.  Each is stored or refused by itself: its rc (and
 * err, the errno) is what put() would have answered, but that a name which
 * another writer is at is a CONFLICT at once.  All that is OK is durable.
 */
#define CERTCTL_STORE_MANY  64

/* Locks that a thread's calls of put_many() use again; NULL without memory, and
   for none.  on_step is called after each step of a record. */
typedef struct certctl_lock_pool_s  certctl_lock_pool_t;

certctl_lock_pool_t *certctl_lock_pool_create(void (*on_step)(void));
void certctl_lock_pool_destroy(certctl_store_t *store,
    certctl_lock_pool_t *pool);

typedef struct {
    const certctl_record_t  *record;
    int                      rc;
    int                      err;
    uint64_t                 generation;
} certctl_store_put_t;

void certctl_store_put_many(certctl_store_t *store, certctl_store_put_t *puts,
    size_t n, certctl_lock_pool_t *pool, certctl_changed_pt changed,
    void *data);

/* The previous version is live again, under a new generation; and it may be
   called again to return. */
int certctl_store_rollback(certctl_store_t *store, const char *name,
    uint64_t replaces, uint64_t *generation, certctl_changed_pt changed,
    void *data);

/*
 * Removes record, previous version and pending key, wiping key material.  What
 * is wiped cannot come back: on ERROR it may be gone, too, but not for good.
 */
int certctl_store_delete(certctl_store_t *store, const char *name,
    uint64_t replaces, certctl_changed_pt changed, void *data);

/*
 * Staples.  Of two for one certificate the later one, by thisUpdate, is kept;
 * put() and rollback() keep it, too, where the certificate stays the same.  One
 * with the end WITHDRAWN is kept for comparison only, and not sent: a later one
 * replaces it.
 */
#define CERTCTL_STAPLE_WITHDRAWN  (-1)

/* Whether staple takes the place of the one that is kept: 1, 0. */
int certctl_staple_replaces(const certctl_blob_t *staple, int64_t until,
    const certctl_blob_t *kept, int64_t kept_until);

/* Replaces the staple of name's record, if its leaf still has fingerprint
   (SHA-256); else NOT_FOUND.  An empty one withdraws the one that is kept. */
int certctl_store_staple(certctl_store_t *store, const char *name,
    const u_char *fingerprint, const certctl_blob_t *staple, int64_t until,
    uint64_t *generation, certctl_changed_pt changed, void *data);


/*
 * When TLS sessions were flushed last; NOT_FOUND: never.  And flushing them
 * now: the time in microseconds, or one more than before.
 */

int certctl_store_flushed(certctl_store_t *store, uint64_t *ret);
int certctl_store_flush(certctl_store_t *store, uint64_t *ret);


/*
 * Session ticket keys (RFC 5077, RFC 8446 4.6.1).  Each says when it is used,
 * so that the next one is known everywhere before that.  Memory that holds keys
 * is to be wiped.
 */

#define CERTCTL_TICKET_KEYS   16
#define CERTCTL_TICKET_LIFE   (7 * 86400)
#define CERTCTL_TICKET_SET    (24 + CERTCTL_TICKET_KEYS * 104)  /* as octets */

typedef struct {
    int64_t       from;                 /* encrypts new tickets, ... */
    int64_t       until;
    int64_t       accept;               /* and decrypts them until then */
    u_char        name[16];
    u_char        aes[32];
    u_char        hmac[32];
} certctl_ticket_key_t;

typedef struct {
    uint64_t              generation;   /* of the last one that was pushed */
    uint64_t              flushed;      /* its group's epoch, 0: none */
    unsigned              pushed:1;     /* else this host has made the keys */
    size_t                n;
    certctl_ticket_key_t  key[CERTCTL_TICKET_KEYS];
} certctl_ticket_set_t;

/* From the octets of a set that is pushed: NULL, or the rule that it breaks. */
const char *certctl_ticket_set_parse(const u_char *data, size_t len,
    time_t now, certctl_ticket_set_t *ret);

/* The key that encrypts at now, or NULL. */
const certctl_ticket_key_t *certctl_ticket_key(const certctl_ticket_set_t *set,
    time_t now);

/* Whether rotate() would make a key: 1, 0. */
int certctl_ticket_set_due(const certctl_ticket_set_t *set, time_t now,
    int64_t interval);

int certctl_store_ticket_set(certctl_store_t *store,
    certctl_ticket_set_t *ret);

/*
 * Replaces the kept set by a pushed one; OLDER, with the kept generation, when
 * it is not newer.  The same one again is OK.  Sessions are flushed to its
 * epoch, unless this host was flushed later; epoch is the host's then, and
 * unchanged where the set has none.
 */
int certctl_store_ticket_set_put(certctl_store_t *store,
    const certctl_ticket_set_t *set, uint64_t *generation, uint64_t *epoch);

/*
 * Makes the next key where one is due, even with a pushed set that has ended.
 * What was damaged is replaced, and with fresh all keys of this host are.
 */
int certctl_store_ticket_set_rotate(certctl_store_t *store, time_t now,
    int64_t interval, unsigned keep, int fresh, int *damaged);


/*
 * The CAs that controllers have sent, whose clients may command this host: DER
 * certificates one behind the other, as in a record.  NOT_FOUND: none were
 * sent.  The same ones again are no write.
 */

int certctl_store_trust(certctl_store_t *store, certctl_record_t *ret);
int certctl_store_trust_put(certctl_store_t *store, const certctl_blob_t *cas,
    uint64_t *generation);


/* Keys that wait.  A newer one replaces an older; put() of a chain that fits
   the pending key removes it. */

int certctl_store_pending_put(certctl_store_t *store,
    const certctl_pending_t *pending);
int certctl_store_pending_get(certctl_store_t *store, const char *name,
    certctl_pending_t *ret);
void certctl_pending_free(certctl_pending_t *pending);


/* Staples of certificates that are not in the store (static ones), by the
   SHA-256 of the certificate; in hex changed is called with it.  The DER is
   verified again when it is used; until is WITHDRAWN or something else. */

int certctl_store_static_staple_put(certctl_store_t *store,
    const u_char *fingerprint, const certctl_blob_t *staple, int64_t until,
    certctl_changed_pt changed, void *data);
int certctl_store_static_staple_get(certctl_store_t *store,
    const u_char *fingerprint, certctl_blob_t *ret,      /* free() data */
    int64_t *until);


#endif /* _NGX_CERTCTL_STORE_H_INCLUDED_ */
