
/*
 * What the store's own files share.  How a store lies on disk:
 *
 *   seal.key                 sealing key and host id, the master's alone
 *   certs/<hh>/<name>        the live record
 *   certs/<hh>/<name>~       the one before it, for rollback
 *   names/ecdsa/<hh>/<dns>   link whose text names the records that carry it
 *   names/rsa/<hh>/<dns>
 *   pending/<hh>/<name>      a key and request that wait
 *   staples/<hh>/<hex>       a static certificate's staple
 *   writes/<name>            lock of a write in progress, where there is a live
 *                            record another name of it; one that is left
 *                            is of a writer that was killed
 *   writes/+<number>         lock that waits for its next name
 *   sessions/flushed         when TLS sessions were flushed
 *   sessions/tickets         session ticket keys
 *   trust/controllers        CAs of controllers that may command this host
 *   damaged/<name>+<time>    what was set aside
 *
 * <hh> is a hash of the lower-cased name.  The marks + % = ~ cannot occur in
 * names of records, so nothing collides; one character each, because a name
 * of 253 leaves room for no more in a file name of 255.
 */

#ifndef _NGX_CERTCTL_STORE_IMPL_H_INCLUDED_
#define _NGX_CERTCTL_STORE_IMPL_H_INCLUDED_


#ifndef _GNU_SOURCE
#define _GNU_SOURCE                         /* renameat2(), syncfs(), ... */
#endif

#include "store/store.h"
#include "point.h"

#include <openssl/evp.h>


#define CERTCTL_SEAL_KEY      32
#define CERTCTL_SEAL_HOST     16

#define CERTCTL_LOCK_WAIT     10000         /* ms */
#define CERTCTL_FILE_MAX      (256 * 1024)
#define CERTCTL_NAME_SIZE     254           /* 253 and the NUL */
#define CERTCTL_PATH_SIZE     (CERTCTL_NAME_SIZE + 8)
#define CERTCTL_FOLDERS       256

/* Marks of files beside a record. */
#define CERTCTL_MARK_NEW      '+'           /* being written; in writes/ a lock
                                               that is of no name */
#define CERTCTL_MARK_OLD      '%'           /* becomes the previous one */
#define CERTCTL_MARK_UNDO     '='           /* backup, until all is synced */
#define CERTCTL_MARK_PREV     '~'           /* behind the name */


/* Open folders are -1 where create was 0 and one is missing. */

struct certctl_store_s {
    int          top;
    int          certs;
    int          names[CERTCTL_KINDS];
    int          pending;
    int          staples;
    int          writes;
    int          damaged;
    int          sessions;
    int          trust;

    int          shared_sync;               /* syncfs() may be trusted */
    uid_t        uid;                       /* who owns what we make */
    gid_t        gid;

    u_char       host[CERTCTL_SEAL_HOST];
    EVP_MAC_CTX *mac;                       /* has the sealing key; is copied */
    EVP_CIPHER  *cipher;

    void       (*healed)(void *data);
    void        *healed_data;
    int          invalid;                   /* healed before healed was set */
};


/*
 * The types of sealed files.  Each is read into a certctl_record_t; see
 * store/record.c for the bytes.
 */

typedef enum {
    CERTCTL_SEALED_RECORD = 'R',            /* chain, key, staple, names */
    CERTCTL_SEALED_PENDING = 'P',           /* key, request, key type */
    CERTCTL_SEALED_STAPLE = 'S',            /* staple */
    CERTCTL_SEALED_FLUSHED = 'F',           /* nothing: its generation */
    CERTCTL_SEALED_TICKETS = 'T',           /* ticket keys, whose they are */
    CERTCTL_SEALED_TRUST = 'C'              /* certificates of CAs */
} certctl_sealed_e;


/* store/record.c */

/* Big-endian numbers of n bytes; put returns what is behind. */
u_char *certctl_put_be(u_char *p, uint64_t value, size_t n);
uint64_t certctl_get_be(const u_char *p, size_t n);

/* Sealing: 0, or a code of store/store.h. */

int certctl_seal(certctl_store_t *store, const certctl_record_t *in,
    u_char **out, size_t *len);
/* Takes buf over, on failure too. */
int certctl_unseal(certctl_store_t *store, certctl_sealed_e type,
    const char *name, u_char *buf, size_t len, certctl_record_t *ret);


/* store/record_names.c: the lower-case names that a record carries,
   as one blob of NUL-terminated texts. */

/* 0 when there is no memory; names->data is malloc'ed. */
int certctl_record_names(const struct certctl_leaf *leaf,
    certctl_blob_t *names);
int certctl_record_has_name(const certctl_blob_t *names, const char *name);
/* The next name behind at, NULL behind the last; the first for NULL. */
const char *certctl_record_next_name(const certctl_blob_t *names,
    const char *at);

/* Whether links lead to record, which may be NULL, at all; and for key. */
int certctl_record_is_public(const certctl_record_t *record);
int certctl_record_carries(const certctl_record_t *record,
    certctl_kind_e kind, const char *key);
/* The next name of record, behind key, that other does not carry. */
const char *certctl_record_missing(const certctl_record_t *record,
    const certctl_record_t *other, const char *key);
int certctl_is_fingerprint(const char *key);
const char *certctl_record_fingerprint(const certctl_record_t *record);


/* store/name.c */

unsigned certctl_path_hash(const char *name);
/* "<hh>/<name>", with its mark; 0 is none. */
void certctl_path(char path[CERTCTL_PATH_SIZE], const char *name, char mark);
/* The part of a path behind "<hh>/". */
#define certctl_base(path)  ((path) + 3)

/* Lower-case name as names/ keeps it; 0 when no file may bear it. */
int certctl_host_key(const char *name, char key[CERTCTL_NAME_SIZE]);


/* store/folder.c */

/* The folder of number hash in parent; -1 with errno. */
int certctl_folder_number(int parent, unsigned hash);
/* The folder <hh> of name in parent, made when create; -1 with errno. */
int certctl_folder_open(certctl_store_t *store, int parent, const char *name,
    int create);
/* Another descriptor of folder, with a position and locks of its own. */
int certctl_folder_again(int folder);
/*
 * Calls fn with each entry of the folder fd, until it returns non-zero, and
 * closes fd.  What fn has returned; CERTCTL_STORE_ERROR when not all was read.
 */
typedef int (*certctl_entry_pt)(int folder, const char *base, void *data);
int certctl_folder_each(int fd, certctl_entry_pt fn, void *data);
/* The same with each entry of the folders <hh> in parent, which may be -1; goes
   on after an error. */
int certctl_folder_each_hash(int parent, certctl_entry_pt fn, void *data);
int certctl_folder_sync(int fd);

/* What root has made becomes the workers' user's; 0, or -1 with errno. */
int certctl_chown_to_workers(certctl_store_t *store, int fd);

/* The code for errno. */
int certctl_store_code(void);
/* Closes fd, unless it is -1; errno stays. */
void certctl_close(int fd);


/* store/file.c */

certctl_file_t certctl_file_of(const struct stat *st);
/* Whether there is this file under path: 1, 0. */
int certctl_file_is(int folder, const char *path, const certctl_file_t *file);

int certctl_file_rename(int folder, const char *name, char from, char to);
int certctl_file_link(int folder, const char *name, char from, char to);
/* OK also when there is none. */
int certctl_file_unlink(int folder, const char *name, char mark);
/* Overwrites and removes the file of name with CERTCTL_MARK_NEW; with sync it
   waits until the disk has no more of it than it must. */
void certctl_file_wipe(int folder, const char *name, int sync);
/* Gone at once for who opens it, and only then overwritten. */
int certctl_file_remove(int folder, const char *name, char mark, int sync);

/* Reads and unseals the file under path. */
int certctl_sealed_read(certctl_store_t *store, int folder, const char *path,
    certctl_sealed_e type, const char *name, certctl_record_t *ret);
/* By name, below parent, which may be -1. */
int certctl_sealed_load(certctl_store_t *store, int parent,
    certctl_sealed_e type, const char *name, char mark, certctl_record_t *ret);
/* The same of a record. */
int certctl_store_load(certctl_store_t *store, const char *name, char mark,
    certctl_record_t *ret);
/* Seals in, and writes it with CERTCTL_MARK_NEW. */
int certctl_sealed_write(certctl_store_t *store, int folder,
    const certctl_record_t *in, int sync);
/* The same, and durably in the place of what was there. */
int certctl_sealed_replace(certctl_store_t *store, int folder,
    const certctl_record_t *in);


/* store/lock.c */

/* A lock without a name: a file system may need long to make a new file where
   many have just been removed. */

typedef struct {
    int   fd;
    char  name[32];
} certctl_pooled_lock_t;

struct certctl_lock_pool_s {
    void                 (*on_step)(void);
    size_t                 n;
    certctl_pooled_lock_t  of[CERTCTL_STORE_MANY];
};

typedef struct {
    int                   fd;
    int                   stale;            /* its last owner died */
    int                   unfinished;       /* the next writer has to heal */
    certctl_lock_pool_t  *pool;             /* may be NULL */
    char                  name[CERTCTL_NAME_SIZE];
} certctl_lock_t;

/* Waits for a file's exclusive lock at most wait_ms; 0, or -1 with errno. */
int certctl_flock(int fd, unsigned wait_ms);
/* Locks folder by a descriptor of its own, which is to be closed, as the
   store's is every process's; -1 with errno. */
int certctl_folder_lock(int folder);
int certctl_lock(certctl_store_t *store, const char *name,
    certctl_lock_t *lock, unsigned wait_ms, certctl_lock_pool_t *pool);
void certctl_unlock(certctl_store_t *store, certctl_lock_t *lock);
/* Whether fd is open on the file under path: 1, 0, -1 with errno. */
int certctl_lock_is_file(int fd, int folder, const char *path);
/* Removes the pooled lock of a process that died. */
void certctl_lock_pool_heal(certctl_store_t *store, const char *base);


/* store/candidates.c: the records that carry one DNS or IP name, by which one
   is to be served, as the text of a link. */

/* So many are tried in a handshake at most.  Four of the longest names fit into
   the text, which every file system takes (XFS has the shortest limit). */
#define CERTCTL_CANDIDATES       16
#define CERTCTL_CANDIDATES_TEXT  1023

typedef struct {
    char                 record[CERTCTL_NAME_SIZE];
    int64_t              not_before;
    int64_t              not_after;
} certctl_candidate_t;

typedef struct {
    size_t               n;
    int                  partial;           /* others may carry the name, too */
    certctl_candidate_t  of[CERTCTL_CANDIDATES + 1];

    size_t               len;               /* of the text as it was read */
    char                 text[CERTCTL_CANDIDATES_TEXT + 1];
} certctl_candidates_t;

/* Name and validity of a record, from its chain. */
void certctl_candidate_set(certctl_candidate_t *candidate,
    const certctl_record_t *record);

/* Reads a link: OK with at least one candidate, whose times are not known. */
int certctl_candidates_read(int folder, const char *path,
    certctl_candidates_t *list);
/* The text of list as it is now; 0 when that is what was read. */
int certctl_candidates_write(certctl_candidates_t *list);
/* The index of record, n when it is not in the list. */
size_t certctl_candidates_index(const certctl_candidates_t *list,
    const char *record);
void certctl_candidates_remove(certctl_candidates_t *list, size_t i);
/* Puts candidate in its place, where it may have been before. */
void certctl_candidates_add(certctl_candidates_t *list,
    const certctl_candidate_t *candidate);


/* store/names.c */

/*
 * A record is about to be changed from old to new; either may be NULL.  Names
 * that it loses keep their other candidates; and where it changes its kind, it
 * becomes a candidate of the new kind before it is of it.
 */
int certctl_names_prepare(certctl_store_t *store, const certctl_record_t *old,
    const certctl_record_t *new, int sync);
/* A record was changed from old to new: its names follow. */
int certctl_names_change(certctl_store_t *store, const certctl_record_t *old,
    const certctl_record_t *new, int sync);
int certctl_names_read(certctl_store_t *store, certctl_kind_e kind,
    const char *key, certctl_candidates_t *list);
/* Loads a record; NOT_FOUND when it does not carry key. */
int certctl_names_load(certctl_store_t *store, certctl_kind_e kind,
    const char *key, const char *record, certctl_record_t *ret);


/* store/commit.c */

typedef struct {
    certctl_store_t   *store;
    certctl_lock_t     lock;
    int                folder;              /* certs/<hh> */
    int                found;               /* what reading the live one said */
    certctl_record_t   live;                /* when it was OK */
    certctl_record_t  *old;                 /* &live then, else NULL */
    const certctl_record_t  *new;           /* when it was prepared */
    unsigned           keep_prev:1;
    unsigned           committed:1;         /* readers may have seen the new */
    unsigned           names_unknown:1;     /* the live one was damaged */
} certctl_write_t;

/*
 * Locks name, heals what a dead writer left, reads the live record.  With
 * create w->folder is open; else it is -1 where nothing was ever stored.
 */
int certctl_write_begin(certctl_store_t *store, const char *name, int create,
    unsigned wait_ms, certctl_lock_pool_t *pool, certctl_write_t *w);
void certctl_write_end(certctl_write_t *w);

/*
 * The steps: new is written beside the live record, takes its place, and the
 * backup is removed.  With keep_prev the version before the live one stays,
 * else the live one takes its place.  Without sync the caller syncs what a step
 * has written before the next one.  stage() and publish() leave nothing when
 * they fail; unstage() takes a stage() back, revert() a publish().
 */
int certctl_write_stage(certctl_write_t *w, const certctl_record_t *new,
    int keep_prev, int sync);
void certctl_write_unstage(certctl_write_t *w);
int certctl_write_publish(certctl_write_t *w, int sync);
void certctl_write_revert(certctl_write_t *w);
void certctl_write_clean(certctl_write_t *w);

/* Puts in below parent, under its lock; what check returns then, where it is
   given, is an error unless OK. */
typedef int (*certctl_check_pt)(certctl_store_t *store,
    const certctl_record_t *in);
int certctl_write_sealed(certctl_store_t *store, int parent,
    const certctl_record_t *in, certctl_check_pt check);

/* Moves a file that cannot be read to damaged/. */
void certctl_move_to_damaged(certctl_store_t *store, int folder,
    const char *name, char mark);


/* store/write.c */

typedef struct {
    certctl_write_t    w;
    certctl_record_t   new;                 /* points into the record given */
} certctl_put_t;

/* Later than last, and than all before. */
uint64_t certctl_next_generation(uint64_t last);

/* The generation of new and its time: later than what it replaces. */
void certctl_write_number(certctl_write_t *w, certctl_record_t *new);

/*
 * Calls changed for all names whose answer this write may have changed.  Under
 * the record's lock: when a writer is killed before, its lock is left, and who
 * finds that invalidates all.
 */
void certctl_write_notify(certctl_write_t *w, certctl_changed_pt changed,
    void *data);

/* put_end() is called only when it has succeeded. */
int certctl_put_begin(certctl_store_t *store, const certctl_record_t *rec,
    unsigned wait_ms, certctl_lock_pool_t *pool, certctl_put_t *put);
void certctl_put_end(certctl_put_t *put);


/* store/staples.c */

/* new keeps the staple of old if that is later, and the leaf is the same. */
void certctl_staple_keep(const certctl_record_t *old, certctl_record_t *new);


/* store/pending.c */

/* Removes the pending key of name; with spki only if it is that key. */
void certctl_pending_remove(certctl_store_t *store, const char *name,
    const u_char *spki);


/* store/ticket_set.c */

/* NULL, or the rule that data breaks; and the octets of set, their number. */
const char *certctl_ticket_set_read(const u_char *data, size_t len,
    certctl_ticket_set_t *ret);
size_t certctl_ticket_set_write(const certctl_ticket_set_t *set, u_char *p);


/* store/heal.c */

/* Finishes or undoes what a writer of name left; under its lock. */
void certctl_heal(certctl_store_t *store, const char *name);
/* The answer of any name may be another now. */
void certctl_invalidate_all(certctl_store_t *store);


/* store/seal.c */

/* What derives each file's key from the sealing key; NULL without memory. */
EVP_MAC_CTX *certctl_seal_mac(const u_char key[CERTCTL_SEAL_KEY]);

int certctl_seal_key_load(certctl_store_t *store, int create, char *why,
    size_t why_len);


#endif /* _NGX_CERTCTL_STORE_IMPL_H_INCLUDED_ */
