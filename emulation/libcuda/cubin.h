// What a cubin says about its kernel: where each argument goes, and which launches it allows.
//
// Why read it: the compiler wrote it, so this finds arguments whose size differs from what Python packs, and blocks or
// grids that no device accepts. The attributes are those that `cuobjdump -elf` prints.
#pragma once
#include <elf.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>

struct Cubin {
    int architecture;                                // 90 for sm_90
    std::map<int, std::pair<int, int>> parameters;  // by number: offset, size
    unsigned int most_threads = 1024, registers = 0;
};

constexpr unsigned char REGISTERS = 0x2f, MOST_THREADS = 0x05, PARAMETER = 0x17, SIZED = 0x04;
constexpr uint16_t CUDA_MACHINE = 190;

inline uint64_t cubin_size(const unsigned char* image) {
    const Elf64_Ehdr* header = (const Elf64_Ehdr*)image;
    const uint64_t sections = header->e_shoff + (uint64_t)header->e_shentsize * header->e_shnum;
    const uint64_t segments = header->e_phoff + (uint64_t)header->e_phentsize * header->e_phnum;
    return sections > segments ? sections : segments;
}

// Nothing if this is not a cubin, or has no such kernel.
inline std::optional<Cubin> read_cubin(const unsigned char* image, const std::string& kernel) {
    const Elf64_Ehdr* header = (const Elf64_Ehdr*)image;
    if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_machine != CUDA_MACHINE) return std::nullopt;
    Cubin cubin{(int)(header->e_flags >> 8 & 0xff), {}};
    const Elf64_Shdr* sections = (const Elf64_Shdr*)(image + header->e_shoff);
    const char* names = (const char*)(image + sections[header->e_shstrndx].sh_offset);
    bool found = false;
    for (int i = 0; i < header->e_shnum; ++i) {
        const std::string name = names + sections[i].sh_name;
        const unsigned char* at = image + sections[i].sh_offset;
        const unsigned char* end = at + sections[i].sh_size;
        found = found || name == ".text." + kernel;
        const bool of_all = name == ".nv.info";
        if (!of_all && name != ".nv.info." + kernel) continue;
        while (at + 4 <= end) {
            const unsigned char format = at[0], attribute = at[1];
            uint16_t size;
            std::memcpy(&size, at + 2, 2);
            uint32_t words[3] = {0, 0, 0};
            if (format == SIZED) std::memcpy(words, at + 4, std::min<size_t>(size, sizeof words));
            if (attribute == REGISTERS && of_all) cubin.registers = words[1];
            if (attribute == MOST_THREADS) cubin.most_threads = words[0] * words[1] * words[2];
            if (attribute == PARAMETER) cubin.parameters[words[1] & 0xffff] = {words[1] >> 16, words[2] >> 18};
            at += 4 + (format == SIZED ? size : 0);
        }
    }
    return found ? std::optional(cubin) : std::nullopt;
}
