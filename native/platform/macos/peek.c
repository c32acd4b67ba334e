/* peek: looking at memory and at the process without trusting either. */
#include "platform/platform.h"

#include <mach-o/dyld.h>
#include <mach-o/loader.h>
#include <mach/mach.h>
#include <mach/vm_map.h>
#include <pthread.h>

bool ss_os_read_memory(const void *address, void *out, size_t len) {
    vm_size_t done = 0;
    return address != NULL &&
           vm_read_overwrite(mach_task_self(), (vm_address_t)address, len, (vm_address_t)out, &done) == KERN_SUCCESS &&
           done == len;
}

/* ---- Code ------------------------------------------------------------------------------ */

/* The mapping that an address lies in. */
static bool find_region(uintptr_t address, ss_os_range *range, vm_prot_t *rights) {
    vm_address_t start = address;
    vm_size_t size = 0;
    vm_region_basic_info_data_64_t info;
    mach_msg_type_number_t count = VM_REGION_BASIC_INFO_COUNT_64;
    mach_port_t object = MACH_PORT_NULL;
    if (vm_region_64(mach_task_self(), &start, &size, VM_REGION_BASIC_INFO_64,
                     (vm_region_info_t)&info, &count, &object) != KERN_SUCCESS ||
        start > address)
        return false;
    *range = (ss_os_range){(uintptr_t)start, (uintptr_t)(start + size)};
    *rights = info.protection;
    return true;
}

int ss_os_find_not_executable(const uintptr_t *addresses, int count) {
    for (int i = 0; i < count; i++) {
        ss_os_range range;
        vm_prot_t rights;
        if (addresses[i] != 0 && (!find_region(addresses[i], &range, &rights) ||
                                  (rights & VM_PROT_EXECUTE) == 0))
            return i;
    }
    return -1;
}

typedef void visit_code(const ss_os_map *, void *);

/* The parts of each library and of the program that may be executed. */
static void each_code(visit_code *visit, void *context) {
    const uint32_t images = _dyld_image_count();
    for (uint32_t i = 0; i < images; i++) {
        const struct mach_header_64 *head = (const void *)_dyld_get_image_header(i);
        const char *name = _dyld_get_image_name(i);
        const uintptr_t slide = (uintptr_t)_dyld_get_image_vmaddr_slide(i);
        if (head == NULL || name == NULL)
            continue; /* it has gone meanwhile */
        const struct load_command *command = (const void *)(head + 1);
        for (uint32_t n = 0; n < head->ncmds; n++) {
            const struct segment_command_64 *part = (const void *)command;
            if (command->cmd == LC_SEGMENT_64 && (part->initprot & VM_PROT_EXECUTE) != 0) {
                const uintptr_t start = slide + part->vmaddr;
                const ss_os_map map = {start, start + part->vmsize, part->fileoff, name};
                visit(&map, context);
            }
            command = (const void *)((const char *)command + command->cmdsize);
        }
    }
}

void ss_os_walk_maps(void (*visit)(const ss_os_map *, void *), void *context) {
    each_code(visit, context);
}

typedef struct code_list {
    ss_os_range *out;
    size_t room;
    size_t count;
} code_list;

static void add_code(const ss_os_map *map, void *context) {
    code_list *list = context;
    if (list->count < list->room)
        list->out[list->count++] = (ss_os_range){map->start, map->end};
}

size_t ss_os_code_ranges(ss_os_range *out, size_t room) {
    code_list list = {out, room, 0};
    each_code(add_code, &list);
    return list.count;
}

/* ---- Threads --------------------------------------------------------------------------- */

size_t ss_os_thread_ids(int *ids, size_t room) {
    thread_act_array_t threads;
    mach_msg_type_number_t all = 0;
    size_t count = 0;
    if (task_threads(mach_task_self(), &threads, &all) != KERN_SUCCESS)
        return 0;
    for (mach_msg_type_number_t i = 0; i < all; i++) {
        if (count < room)
            ids[count++] = (int)threads[i];
        mach_port_deallocate(mach_task_self(), threads[i]); /* the thread itself keeps the name */
    }
    vm_deallocate(mach_task_self(), (vm_address_t)threads, all * sizeof threads[0]);
    return count;
}

int ss_os_thread_own_id(void) {
    return (int)pthread_mach_thread_np(pthread_self());
}

bool ss_os_thread_get_name(int id, char *out, size_t room) {
    const pthread_t thread = pthread_from_mach_thread_np((mach_port_t)id);
    out[0] = '\0';
    return thread != NULL && pthread_getname_np(thread, out, room) == 0;
}

static uintptr_t stack_of(mach_port_t thread, uintptr_t *pc) {
#if defined(__x86_64__)
    x86_thread_state64_t machine;
    mach_msg_type_number_t count = x86_THREAD_STATE64_COUNT;
    const thread_state_flavor_t flavor = x86_THREAD_STATE64;
#else
    arm_thread_state64_t machine;
    mach_msg_type_number_t count = ARM_THREAD_STATE64_COUNT;
    const thread_state_flavor_t flavor = ARM_THREAD_STATE64;
#endif
    if (thread_get_state(thread, flavor, (thread_state_t)&machine, &count) != KERN_SUCCESS)
        return 0;
#if defined(__x86_64__)
    *pc = (uintptr_t)machine.__rip;
    return (uintptr_t)machine.__rsp;
#else
    *pc = (uintptr_t)arm_thread_state64_get_pc(machine);
    return (uintptr_t)arm_thread_state64_get_sp(machine);
#endif
}

/* A thread's stack, from its pointer upward, holds the addresses it returns to. */
int ss_os_thread_is_in(int id, const ss_os_range *code, size_t count) {
    enum { WORDS = 512, PIECES = 16 };
    uintptr_t words[WORDS];
    ss_os_range range;
    vm_prot_t rights;
    uintptr_t pc = 0;
    uintptr_t stack = stack_of((mach_port_t)id, &pc);
    if (ss_os_lies_in(pc, code, count))
        return 1;
    if (stack == 0 || !find_region(stack, &range, &rights))
        return 0;
    for (int piece = 0; piece < PIECES && stack < range.end; piece++, stack += sizeof words) {
        const size_t bytes = range.end - stack < sizeof words ? range.end - stack : sizeof words;
        if (!ss_os_read_memory((const void *)stack, words, bytes))
            return -1;
        for (size_t i = 0; i < bytes / sizeof words[0]; i++)
            if (ss_os_lies_in(words[i], code, count))
                return 1;
    }
    return 0;
}
