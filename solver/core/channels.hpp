// The channels of layers that are given banks of their own: solver.schedule.channels.
#pragma once

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "loops.hpp"

namespace core {

// Channels with free banks by how many they have, the fullest ones first: what is left, channel.
inline Vector<std::pair<Int, Int>> by_room(const Ints &free, Int least) {
    Vector<std::pair<Int, Int>> found;
    for (std::size_t c = 0; c < free.size(); ++c)
        if (free[c] >= least) found.push_back({free[c], Int(c)});
    std::sort(found.begin(), found.end());
    return found;
}

// Choices of channels, the fullest ones first; of those that are equally full the first are taken.
class ChannelWays {
   public:
    ChannelWays(const Ints &free, Int channels, Int banks) : fitting_(by_room(free, banks)) {
        for (std::size_t i = 0; i < fitting_.size(); ++i) {
            if (i == 0 || fitting_[i].first != fitting_[i - 1].first) classes_.push_back(0);
            ++classes_.back();
        }
        more_ = Int(fitting_.size()) >= channels;
        taken_.assign(classes_.size(), 0);
        if (more_) fill(0, channels);
    }

    // The next way; none after the last.
    std::optional<Ints> next() {
        if (!more_) return std::nullopt;
        Ints way;
        std::size_t first = 0;
        for (std::size_t k = 0; k < classes_.size(); ++k) {
            for (Int i = 0; i < taken_[k]; ++i) way.push_back(fitting_[first + std::size_t(i)].second);
            first += std::size_t(classes_[k]);
        }
        std::sort(way.begin(), way.end());
        more_ = advance();
        return way;
    }

   private:
    // Take as many as can be of each class from one on.
    void fill(std::size_t from, Int missing) {
        for (std::size_t k = from; k < classes_.size(); ++k) {
            taken_[k] = std::min(classes_[k], missing);
            missing -= taken_[k];
        }
    }

    // Take one less of the last class for which those behind it make up.
    bool advance() {
        Int behind = 0, missing = 0;  // channels of the classes behind, and how many of them are taken
        for (std::size_t k = classes_.size(); k-- > 0;) {
            if (taken_[k] > 0 && behind >= missing + 1) {
                --taken_[k];
                fill(k + 1, missing + 1);
                return true;
            }
            behind += classes_[k];
            missing += taken_[k];
        }
        return false;
    }

    Vector<std::pair<Int, Int>> fitting_;
    Ints classes_, taken_;
    bool more_ = false;
};

// Channels for each shape of channels and banks, depth first.
inline std::optional<Vector<Ints>> chosen_channels(
    Ints free, const Vector<std::pair<Int, Int>> &shapes, Int steps) {
    Vector<Ints> chosen;
    if (shapes.empty()) return chosen;
    Int wanted = 0, there = 0;
    for (const auto &[channels, banks] : shapes) wanted += channels * banks;
    for (Int left : free) there += left;
    if (wanted > there) return std::nullopt;
    Vector<ChannelWays> stack{ChannelWays(free, shapes[0].first, shapes[0].second)};
    for (Int step = 0; step < Int(shapes.size()) + steps; ++step) {
        auto way = stack.back().next();
        if (!way) {
            stack.pop_back();
            if (stack.empty()) return std::nullopt;
            for (Int c : chosen.back()) free[std::size_t(c)] += shapes[chosen.size() - 1].second;
            chosen.pop_back();
            continue;
        }
        for (Int c : *way) free[std::size_t(c)] -= shapes[chosen.size()].second;
        chosen.push_back(std::move(*way));
        if (chosen.size() == shapes.size()) return chosen;
        const auto &[channels, banks] = shapes[chosen.size()];
        stack.push_back(ChannelWays(free, channels, banks));
    }
    return std::nullopt;
}

// A layer that is to be placed, its banks, the numbers of channels that they can be spread over, and its own.
struct Cuttable {
    Int banks;
    Ints cuts;
    Int own;
};

// The channels that a layer fills best; none if there is no room for it.
inline std::optional<Ints> fullest(const Ints &free, const Cuttable &layer) {
    const auto room = by_room(free, 1);
    std::optional<std::tuple<Int, bool, Int>> best;
    for (Int channels : layer.cuts) {
        const std::pair<Int, Int> least{layer.banks / channels, -1}, more{layer.banks / channels + 1, -1};
        const auto first = std::lower_bound(room.begin(), room.end(), least);
        if (room.end() - first < channels) continue;
        const Int exact = Int(std::lower_bound(first, room.end(), more) - first);
        const std::tuple own{std::max(channels - exact, Int(0)), channels != layer.own, channels};
        if (!best || own < *best) best = own;
    }
    if (!best) return std::nullopt;
    const Int channels = std::get<2>(*best);
    auto next = std::lower_bound(room.begin(), room.end(), std::pair<Int, Int>{layer.banks / channels, -1});
    Ints chosen;
    for (Int i = 0; i < channels; ++i) chosen.push_back((next++)->second);
    std::sort(chosen.begin(), chosen.end());
    return chosen;
}

// The channels of one layer after the other, of as many of them as there is room for.
inline Vector<Ints> filled_channels(Ints free, const Vector<Cuttable> &layers) {
    Vector<Ints> found;
    for (const auto &layer : layers) {
        auto chosen = fullest(free, layer);
        if (!chosen) break;
        for (Int c : *chosen) free[std::size_t(c)] -= layer.banks / Int(chosen->size());
        found.push_back(std::move(*chosen));
    }
    return found;
}

}  // namespace core
