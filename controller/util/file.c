/* Small files as text; secrets go through here, so the buffer is wiped. */
#include "file.h"

#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *
file_text(const char *path, size_t max, struct error *err)
{
    CLEANUP(fd) int        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    CLEANUP(secret) char  *text = calloc(1, max + 1);
    struct stat            st;
    size_t                 len = 0;
    ssize_t                n = 1;

    if (fd < 0 || text == NULL || fstat(fd, &st) != 0) {
        error_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
        return NULL;
    }

    if (!S_ISREG(st.st_mode)) {
        error_set(err, ERR_INVALID, "%s is not a file", path);
        return NULL;
    }

    while (n > 0 && len < max) {
        n = read(fd, text + len, max - len);
        len += n > 0 ? (size_t) n : 0;
    }

    if (n < 0) {
        error_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
        return NULL;
    }

    if (len == max || strlen(text) != len) {
        error_set(err, ERR_INVALID, "%s: no text of at most %zu octets", path,
                  max - 1);
        return NULL;
    }

    return TAKE(text);
}
