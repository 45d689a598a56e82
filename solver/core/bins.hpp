// Layers in the bins that a chip offers, by first fit: solver.schedule.bins.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include "loops.hpp"

namespace core {

// `size` in each of `bins` bins in each of `groups` groups.
struct Item {
    Int groups, bins, size;
};

// What is left in each bin, group by group.
class Room {
   public:
    Room(Int groups, Int width, Int capacity)
        : groups_(groups), width_(width), free_(std::size_t(groups * width), capacity) {}

    // The fullest bins that an item fits into, or the emptiest (sign -1), which it then fills; none if there are too
    // few.
    std::optional<Ints> take(const Item &item, Int sign) {
        Vector<std::pair<Int, Int>> ranked;  // sign * what the bins that would be taken have free, group
        Vector<Vector<std::pair<Int, Int>>> inside;
        inside.resize(std::size_t(groups_));
        for (Int group = 0; group < groups_; ++group) {
            auto &fitting = inside[std::size_t(group)];  // sign * free, bin
            for (Int bin = group * width_; bin < (group + 1) * width_; ++bin)
                if (free_[std::size_t(bin)] >= item.size) fitting.push_back({sign * free_[std::size_t(bin)], bin});
            if (Int(fitting.size()) < item.bins) continue;
            std::nth_element(fitting.begin(), fitting.begin() + item.bins - 1, fitting.end());
            Int filled = 0;
            for (Int i = 0; i < item.bins; ++i) filled += fitting[std::size_t(i)].first;
            ranked.push_back({filled, group});
        }
        if (Int(ranked.size()) < item.groups) return std::nullopt;
        std::nth_element(ranked.begin(), ranked.begin() + item.groups - 1, ranked.end());
        Ints place;
        for (Int i = 0; i < item.groups; ++i)
            for (Int j = 0; j < item.bins; ++j) {
                const auto &fitting = inside[std::size_t(ranked[std::size_t(i)].second)];
                place.push_back(fitting[std::size_t(j)].second);
                free_[std::size_t(place.back())] -= item.size;
            }
        std::sort(place.begin(), place.end());
        return place;
    }

   private:
    Int groups_, width_;
    Ints free_;
};

}  // namespace core
