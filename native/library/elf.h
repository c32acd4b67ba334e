/* elf: ELF files, the libraries of Linux. */
#ifndef SS_ELF_H
#define SS_ELF_H

#include "library/file.h"

/* For ss_file_look: a file that starts as ELF files do. */
void ss_elf_look(const ss_source *source, ss_file *out);
/* For ss_file_build_id: little of the file is read; without an id `out` stays as it is. */
void ss_elf_build_id(int fd, size_t len, char *out, size_t room);

/* The machine that this core was built for, as e_machine; and a machine's name. */
uint32_t ss_elf_own_machine(void);
const char *ss_elf_machine_name(uint32_t machine);

#endif
