/* What lies in a store's folder: the text of a link, a key file, a name. */
#define _GNU_SOURCE
#include "fuzz.h"
#include "store/store_impl.h"

#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

static char  dir[] = "/tmp/certctl-fuzz-XXXXXX";

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void) st;
    (void) type;
    (void) at;

    return remove(path);
}

static void
clean(void)
{
    nftw(dir, remove_one, 8, FTW_DEPTH|FTW_PHYS);
}

static certctl_store_t *
store(void)
{
    static certctl_store_t  s;
    char                    path[CERTCTL_PATH_SIZE];

    if (s.top == 0) {
        FUZZ_MUST(mkdtemp(dir) != NULL);
        atexit(clean);
        s.top = open(dir, O_RDONLY|O_DIRECTORY|O_CLOEXEC);
        s.names[0] = s.top;
        s.certs = -1;
        certctl_path(path, "fuzz.example", 0);
        path[2] = '\0';
        FUZZ_MUST(s.top > 0 && mkdirat(s.top, path, 0700) == 0);
    }

    return &s;
}

static void
follow(const char *text)
{
    char                  path[CERTCTL_PATH_SIZE];
    certctl_candidates_t  list;
    int                   rc;

    certctl_path(path, "fuzz.example", 0);

    if (symlinkat(text, store()->top, path) != 0) {
        return;
    }

    rc = certctl_names_read(store(), 0, "fuzz.example", &list);
    FUZZ_MUST(rc == CERTCTL_STORE_OK || rc == CERTCTL_STORE_NOT_FOUND);
    FUZZ_MUST((rc == CERTCTL_STORE_OK) == (list.n > 0)
              && list.n <= CERTCTL_CANDIDATES && list.len <= sizeof(list.text));

    for (size_t i = 0; i < list.n; i++) {
        FUZZ_MUST(certctl_name_valid((u_char *) list.of[i].record,
                                     strlen(list.of[i].record))
                  && strstr(text, list.of[i].record) != NULL);
    }

    /* what is written of it is read as the same again */
    if (list.n > 0 && certctl_candidates_write(&list)) {
        FUZZ_MUST(list.len <= CERTCTL_CANDIDATES_TEXT + 1);
    }

    unlinkat(store()->top, path, 0);
}

static void
read_key(const uint8_t *data, size_t len)
{
    char  why[256] = "";
    int   fd;

    /* where there is none, nobody makes one who only looks */

    FUZZ_MUST(certctl_seal_key_load(store(), 0, why, sizeof(why)) == 0);
    FUZZ_MUST(faccessat(store()->top, "seal.key", F_OK, 0) != 0);
    fd = openat(store()->top, "seal.key", O_WRONLY|O_CREAT|O_EXCL, 0400);

    FUZZ_MUST(fd >= 0 && write(fd, data, len) == (ssize_t) len);
    close(fd);
    FUZZ_MUST(certctl_seal_key_load(store(), 0, why, sizeof(why)) == 0 || *why);
    unlinkat(store()->top, "seal.key", 0);
    EVP_MAC_CTX_free(store()->mac);
    store()->mac = NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char  *text = fuzz_text(data, len), key[CERTCTL_NAME_SIZE];
    char   path[CERTCTL_PATH_SIZE];

    if (certctl_name_valid(data, len)) {
        FUZZ_MUST(len <= 253 && strlen(text) == len && !strchr(text, '/'));
    }

    if (certctl_host_key(text, key)) {
        certctl_path(path, key, CERTCTL_MARK_NEW);
        FUZZ_MUST(!strchr(certctl_base(path), '/') && *key);
    }

    follow(text);
    read_key(data, len);
    free(text);

    return 0;
}
