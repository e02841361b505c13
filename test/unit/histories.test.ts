import { seedsOf } from "../support/model";

describe("seedsOf", () => {
  test.each([
    ["none", [], 0],
    ["one range", [{ first: 7, count: 3 }], 3],
    ["ranges apart", [{ first: 100, count: 10 }, { first: 1, count: 5 }], 15], // prettier-ignore
    ["the same twice", [{ first: 1, count: 5 }, { first: 1, count: 5 }], 5], // prettier-ignore
    ["one within another", [{ first: 1, count: 100 }, { first: 20, count: 5 }, { first: 90, count: 20 }], 109], // prettier-ignore
  ])("%s", (_, ranges, seeds) => {
    expect(seedsOf(ranges)).toBe(seeds);
  });
});
