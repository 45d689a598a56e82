// Which layer holds which banks from when to when, and layers placed one after the other: solver.schedule.banks and
// solver.schedule.plan.
#pragma once

#include "waiting.hpp"

namespace core {

struct Chip {
    Int channels, banks_per_channel, rows_per_bank;
    bool keeps;  // the weights of all layers of a bank
};

// A set of banks: bit `i` for bank `i`.
class BankSet {
   public:
    BankSet(Int size, bool full) : words_(std::size_t((size + BITS - 1) / BITS + 1), full ? ~Word(0) : 0) {}

    void add(Int bank) { words_[std::size_t(bank) / BITS] |= Word(1) << (std::size_t(bank) % BITS); }

    void remove(const BankSet &other) {
        for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= ~other.words_[i];
    }

    Int count(Int first, Int last) const {
        Int found = 0;
        for (; first < last; first += BITS) found += __builtin_popcountll(part(first, last));
        return found;
    }

    // Adds the first so many of another set from a bank on, of which there are as many before the last.
    void add_first(Int first, Int last, Int most, const BankSet &other) {
        for (; most; first += BITS) {
            Word bits = other.part(first, last), left = bits;
            if (Int count = __builtin_popcountll(bits); count > most) {
                for (Int i = 0; i < most; ++i) left &= left - 1;
                bits ^= left;
            }
            most -= __builtin_popcountll(bits);
            const std::size_t place = std::size_t(first) / BITS, shift = std::size_t(first) % BITS;
            words_[place] |= bits << shift;
            if (shift) words_[place + 1] |= bits >> (BITS - shift);
        }
    }

    // Calls `visit(first, last)` for runs of banks, the last one not among them.
    template <typename Visit>
    void each_run(const Visit &visit) const {
        for (std::size_t place = 0; place < words_.size(); ++place) {
            const Int base = Int(place) * BITS;
            for (Word left = words_[place]; left;) {
                const int first = __builtin_ctzll(left);
                const Word others = ~(left >> first);
                const int last = others ? first + __builtin_ctzll(others) : int(BITS);
                visit(base + first, base + last);
                left = last == BITS ? 0 : left >> last << last;
            }
        }
    }

    void add_run(Int first, Int last) {
        for (; first < last && first % BITS; ++first) add(first);
        for (; first + BITS <= last; first += BITS) words_[std::size_t(first / BITS)] = ~Word(0);
        for (; first < last; ++first) add(first);
    }

    // The banks of a set without a bank beyond the last.
    Array banks() const {
        Int count = 0;
        for (Word word : words_) count += __builtin_popcountll(word);
        Array result(count);
        Int *next = result.mutable_data();
        each_run([&](Int first, Int last) {
            for (; first < last; ++first) *next++ = first;
        });
        return result;
    }

   private:
    using Word = std::uint64_t;
    static constexpr Int BITS = 64;

    // The bits from the first on, up to 64 of those before the last.
    Word part(Int first, Int last) const {
        const std::size_t place = std::size_t(first / BITS);
        const Int shift = first % BITS;
        Word bits = words_[place] >> shift;
        if (shift) bits |= words_[place + 1] << (BITS - shift);
        return last - first < BITS ? bits & ((Word(1) << (last - first)) - 1) : bits;
    }

    Vector<Word> words_;
};

class Ledger {
   public:
    explicit Ledger(const Chip &chip)
        : chip_(chip),
          rows_(std::size_t(chip.channels * chip.banks_per_channel), chip.rows_per_bank),
          fewest_(chip.rows_per_bank) {}

    // The banks that have the rows for a layer, whoever holds them.
    BankSet roomy(const Profile &profile) {
        if (fewest_ < profile.rows) count_rows();
        BankSet roomy(Int(rows_.size()), fewest_ >= profile.rows);
        if (fewest_ < profile.rows)
            for (std::size_t bank = 0; bank < rows_.size(); ++bank)
                if (rows_[bank] >= profile.rows) roomy.add(Int(bank));
        return roomy;
    }

    // Banks of the profile's shape, of a set of banks, that are free in [start, end); the fullest channels first.
    std::optional<BankSet> free(const Profile &profile, Int start, Int end, BankSet among) const {
        for (const auto &held : held_)
            if (held.start < end && start < held.end) among.remove(held.banks);
        const Int width = chip_.banks_per_channel, needed = profile.banks / profile.channels;
        Vector<std::pair<Int, Int>> fitting;  // free banks, channel
        for (Int channel = 0; channel < chip_.channels; ++channel) {
            const Int count = among.count(channel * width, (channel + 1) * width);
            if (count >= needed) fitting.push_back({count, channel});
        }
        if (Int(fitting.size()) < profile.channels) return std::nullopt;
        if (Int(fitting.size()) > profile.channels)
            std::nth_element(fitting.begin(), fitting.begin() + (profile.channels - 1), fitting.end());
        BankSet banks(Int(rows_.size()), false);
        for (Int i = 0; i < profile.channels; ++i) {
            const Int channel = fitting[std::size_t(i)].second;
            banks.add_first(channel * width, (channel + 1) * width, needed, among);
        }
        return banks;
    }

    void hold(const Profile &profile, Int start, Int end, const BankSet &banks) {
        if (chip_.keeps) fewest_ -= profile.rows;
        held_.push_back({start, end, profile.rows, banks});
    }

    BankSet set_of(const py::object &given) const {
        const Array banks = given.cast<Array>();
        BankSet result(Int(rows_.size()), false);
        const Int *next = banks.data(), *last = next + banks.size();
        while (next < last) {
            const Int first = *next;
            while (++next < last && *next == next[-1] + 1) {
            }
            result.add_run(first, next[-1] + 1);
        }
        return result;
    }

    // The next time after one at which banks become free; none if there is none.
    std::optional<Int> next_release(Int time) const {
        std::optional<Int> next;
        for (const auto &held : held_)
            if (held.end > time && (!next || held.end < *next)) next = held.end;
        return next;
    }

   private:
    struct Held {
        Int start, end, rows;
        BankSet banks;
    };

    // Takes the rows of what is held from those of the banks.
    void count_rows() {
        if (!chip_.keeps) return;
        for (; counted_ < held_.size(); ++counted_) {
            const Held &held = held_[counted_];
            held.banks.each_run([&](Int first, Int last) {
                for (; first < last; ++first) rows_[std::size_t(first)] -= held.rows;
            });
        }
        fewest_ = *std::min_element(rows_.begin(), rows_.end());
    }

    Chip chip_;
    Ints rows_;   // left in each bank by the first so many that are held
    Int fewest_;  // rows left in any bank, at least
    std::size_t counted_ = 0;
    Vector<Held> held_;
};

// The banks of each layer; Python is given an array of them only where it asks for it.
class LayerBanks {
   public:
    explicit LayerBanks(Vector<BankSet> sets) : sets_(std::move(sets)), arrays_(sets_.size()) {}

    const BankSet &set(std::size_t layer) const { return sets_[layer]; }
    std::size_t size() const { return sets_.size(); }

    const Array &of(std::size_t layer) {
        if (layer >= sets_.size()) throw py::index_error();
        auto &known = arrays_[layer];
        if (!known) known = sets_[layer].banks();
        return *known;
    }

    // For each layer those that leave one of its banks to it, if they take them in a given order.
    Vector<Ints> before(const Vector<std::size_t> &line, Int banks) const {
        Vector<Ints> found(sets_.size());
        Ints last(std::size_t(banks), -1);
        for (std::size_t layer : line) {
            Ints &own = found[layer];
            sets_[layer].each_run([&](Int first, Int end) {
                for (; first < end; ++first) {
                    const Int holder = std::exchange(last[std::size_t(first)], Int(layer));
                    // The banks of a layer are mostly left by few others, and side by side.
                    if (holder >= 0 && (own.empty() || own.back() != holder)) own.push_back(holder);
                }
            });
            std::sort(own.begin(), own.end());
            own.erase(std::unique(own.begin(), own.end()), own.end());
        }
        return found;
    }

   private:
    Vector<BankSet> sets_;
    Vector<std::optional<Array>> arrays_;
};

struct Placed {
    TimesPointer times;
    BankSet banks;
};

inline TimesPointer postponed(const Times &times, Int release) {
    auto later = shared<Times>(times);
    later->release = release;
    merge(*later);
    conclude(*later);
    return later;
}

// The earliest release of a layer at which banks are free for as long as it holds them, given when it runs from 0 on;
// `old` if that is the same.
inline std::optional<Placed> place(
    Ledger &ledger, const TimesPointer &natural, bool punctual, const TimesPointer &old) {
    const Profile &own = *natural->own;
    const BankSet roomy = ledger.roomy(own);
    Int release = punctual ? natural->delays.back() - own.lead : 0;
    for (Int after = std::max(natural->start, release);;) {
        const Int start = std::max(natural->start, release);
        const Int end = own.last_finish + std::max(natural->delays.back(), release + own.lead);
        auto banks = ledger.free(own, start, end, roomy);
        if (banks) {
            const TimesPointer times = release == natural->release ? natural : postponed(*natural, release);
            return Placed{old && same(*old, *times) ? old : times, std::move(*banks)};
        }
        const auto next = ledger.next_release(after);
        if (!next) return std::nullopt;
        release = after = *next;
    }
}

}  // namespace core
