/* A plugin of qemu that counts the instructions an emulated aarch64 program executes.

   gcc -O2 -shared -fPIC -o counter.so counter.c
   qemu-aarch64 -plugin counter.so,out=FILE PROGRAM

   At the end FILE holds a line for each block of instructions that ran: its address in hex, its
   length in instructions, and how often it ran. Made for version 1 of the plugin interface (qemu
   6 to 8), whose few functions are declared here, because Debian ships no header for it. */

#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define BUCKETS 65536
#define INLINE_ADD_U64 0

typedef uint64_t plugin_id;
struct qemu_plugin_tb;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

EXPORT int qemu_plugin_version = 1;

struct block {
  uint64_t address, instructions, runs;
  struct block *next;
};

static struct block *table[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char output[4096];

/* The same code may be translated several times; it is one block as long as it has one length. */
static struct block *find(uint64_t address, uint64_t instructions) {
  struct block **bucket = &table[(address >> 2) % BUCKETS], *found;
  for (found = *bucket; found; found = found->next)
    if (found->address == address && found->instructions == instructions) return found;
  found = calloc(1, sizeof *found);
  if (!found) abort();
  found->address = address;
  found->instructions = instructions;
  found->next = *bucket;
  return *bucket = found;
}

static void translated(plugin_id id, struct qemu_plugin_tb *code) {
  (void)id;
  pthread_mutex_lock(&lock);
  struct block *block = find(qemu_plugin_tb_vaddr(code), qemu_plugin_tb_n_insns(code));
  pthread_mutex_unlock(&lock);
  qemu_plugin_register_vcpu_tb_exec_inline(code, INLINE_ADD_U64, &block->runs, 1);
}

static void finished(plugin_id id, void *data) {
  (void)id;
  (void)data;
  FILE *file = fopen(output, "w");
  if (!file) return;
  for (size_t i = 0; i < BUCKETS; i++)
    for (struct block *block = table[i]; block; block = block->next)
      if (block->runs)
        fprintf(file, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->address,
                block->instructions, block->runs);
  fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++)
    if (!strncmp(argv[i], "out=", 4)) snprintf(output, sizeof output, "%s", argv[i] + 4);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finished, NULL);
  return 0;
}
