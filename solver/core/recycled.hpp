// Memory for arrays and objects that live shortly: what is given back is kept and given out again. The interpreter
// lets one thread in at a time, so that nothing is locked.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace core {

// Pieces that were given back, by size in steps of 32 bytes, as a list through the pieces themselves.
class Recycler {
   public:
    static void *take(std::size_t bytes) {
        const std::size_t step = steps(bytes);
        if (step >= kept().size()) return ::operator new(bytes);
        Piece *&first = kept()[step];
        if (!first) return ::operator new(step * STEP);
        Piece *piece = first;
        first = piece->next;
        return piece;
    }

    static void give_back(void *memory, std::size_t bytes) {
        const std::size_t step = steps(bytes);
        if (step >= kept().size()) {
            ::operator delete(memory);
            return;
        }
        kept()[step] = new (memory) Piece{kept()[step]};
    }

    // Gives all that is kept back to the system.
    static void clear() {
        for (Piece *&first : kept())
            while (first) {
                Piece *next = first->next;
                ::operator delete(first);
                first = next;
            }
    }

   private:
    struct Piece {
        Piece *next;
    };
    static constexpr std::size_t STEP = 32, LARGEST = 1 << 15;

    static std::size_t steps(std::size_t bytes) { return (std::max(bytes, STEP) + STEP - 1) / STEP; }

    static std::array<Piece *, LARGEST / STEP + 1> &kept() {
        static std::array<Piece *, LARGEST / STEP + 1> pieces{};
        return pieces;
    }
};

template <typename T>
struct Recycled {
    using value_type = T;

    Recycled() = default;
    template <typename Other>
    Recycled(const Recycled<Other> &) {}

    T *allocate(std::size_t count) { return static_cast<T *>(Recycler::take(count * sizeof(T))); }
    void deallocate(T *memory, std::size_t count) { Recycler::give_back(memory, count * sizeof(T)); }
    bool operator==(const Recycled &) const { return true; }
    bool operator!=(const Recycled &) const { return false; }
};

template <typename T>
using Vector = std::vector<T, Recycled<T>>;

template <typename T, typename... Given>
std::shared_ptr<T> shared(Given &&...given) {
    return std::allocate_shared<T>(Recycled<std::remove_const_t<T>>(), std::forward<Given>(given)...);
}

}  // namespace core
