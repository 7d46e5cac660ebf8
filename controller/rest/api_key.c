/* Makes API keys, the first of them for who installs the daemon. */
#include "api_key.h"
#include "random.h"
#include "sql_api_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define API_KEY_BYTES  32

bool
api_key_make(char text[API_KEY_MAX], struct error *err)
{
    memcpy(text, API_KEY_PREFIX, sizeof(API_KEY_PREFIX) - 1);

    return random_hex(text + sizeof(API_KEY_PREFIX) - 1, API_KEY_BYTES)
           || error_set(err, ERR_INTERNAL, "no random bytes");
}

void
api_key_hash(const char *text, char hash[65])
{
    sha256_hex(text, strlen(text), hash);
}

/* A line that is on disk, with its directory entry, before this returns. */
static bool
write_secret(const char *path, const char *text, struct error *err)
{
    CLEANUP(fd) int    fd = -1, dir = -1;
    CLEANUP(mem) char *temp = NULL, *folder = strdup(path);
    const char        *slash = strrchr(path, '/');

    if (folder == NULL || asprintf(&temp, "%s.new", path) < 0) {
        temp = NULL;
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    folder[slash ? slash - path + 1 : 0] = '\0';
    dir = open(*folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    unlink(temp);
    fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || dprintf(fd, "%s\n", text) != (int) strlen(text) + 1
        || fsync(fd) != 0 || rename(temp, path) != 0
        || dir < 0 || fsync(dir) != 0)
    {
        error_set(err, ERR_INTERNAL, "%s: %s", path, strerror(errno));
        unlink(temp);
        return false;
    }

    return true;
}

/* A name that no earlier, revoked key has. */
static bool
admin_name(struct db *db, char *name, size_t size, struct error *err)
{
    CLEANUP(mem) char  *count = DB_VALUE(db, err, SQL_API_KEY_ADMIN_COUNT);

    if (count == NULL) {
        return false;
    }

    if (strcmp(count, "0") == 0) {
        snprintf(name, size, "admin");
        return true;
    }

    memcpy(name, "admin-", 6);

    return random_hex(name + 6, 4)
           || error_set(err, ERR_INTERNAL, "no random bytes");
}

bool
api_key_bootstrap(struct db *db, const char *path, struct error *err)
{
    CLEANUP(mem) char        *exists = NULL, *body = NULL, *id = NULL;
    CLEANUP(db_tx) struct db *tx = NULL;
    json_t                   *key;
    char                      text[API_KEY_MAX], hash[65], name[32];
    bool                      ok;

    exists = DB_VALUE(db, err, SQL_API_KEY_ADMIN_EXISTS);
    if (exists == NULL || *exists == 't') {
        return exists != NULL;
    }

    if (!admin_name(db, name, sizeof(name), err) || !db_begin(db, err)
        || !api_key_make(text, err))
    {
        return false;
    }

    tx = db;
    api_key_hash(text, hash);

    key = json_pack("{s:s s:[s]}", "name", name, "permissions", "*");
    body = json_dumps(key, JSON_COMPACT);
    json_decref(key);

    /* The file first: a key that nobody can read would lock everybody out. */
    id = DB_VALUE(db, err, SQL_API_KEY_ADD, body, hash, "system");
    ok = id != NULL && write_secret(path, text, err) && db_commit(db, err);

    OPENSSL_cleanse(text, sizeof(text));

    return ok;
}
