#include "ring/control.h"

#include "platform/platform.h"

enum { SIZE = (sizeof(ss_control) + SS_OS_PAGE - 1) / SS_OS_PAGE * SS_OS_PAGE };

ss_control *ss_control_new(int *fd) {
    return ss_os_area_new(SIZE, fd);
}

ss_control *ss_control_open(int fd) {
    return ss_os_area_open(fd, SIZE);
}

void ss_control_free(ss_control *control) {
    ss_os_area_free(control, SIZE);
}
