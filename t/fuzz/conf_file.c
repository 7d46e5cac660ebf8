/* Configuration files: what is taken prints itself, the rest has a reason. */
#define _GNU_SOURCE
#include "fuzz.h"
#include "conf.h"

#include <sys/mman.h>
#include <unistd.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static FILE   *null;
    char           path[40], *argv[] = { "certctld", "--config", path, NULL };
    struct conf    conf;
    struct error   err = { 0 };
    bool           test;
    int            fd = memfd_create("conf", MFD_CLOEXEC);

    null = null ? null : fopen("/dev/null", "we");
    FUZZ_MUST(null && fd >= 0 && write(fd, data, len) == (ssize_t) len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

    if (conf_load(&conf, 3, argv, &test, &err)) {
        conf_print(&conf, null);
        FUZZ_MUST(*conf.data_dir);

    } else {
        FUZZ_MUST(err.code == ERR_INVALID && *err.detail);
    }

    conf_free(&conf);
    close(fd);

    return 0;
}
