// React Native's own preset; the packages of this workspace are taken from their sources.
const { join } = require("node:path");

const source = (path) => join(__dirname, "..", path);

module.exports = {
  preset: "@react-native/jest-preset",
  testMatch: ["<rootDir>/test/**/*.test.{ts,tsx}"],
  moduleNameMapper: {
    "^@collab/client$": source("client/src/index.ts"),
    "^@collab/react$": source("react/src/index.ts"),
    "^(\\.{1,2}/.*)\\.js$": "$1",
  },
};
