# The browser tests drive the system's Chromium: install it with apt where that is possible, else say what will be left out.
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" > /dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "installing Chromium for the browser tests"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core > /dev/null && exit 0
fi
echo "Chromium is not installed and cannot be installed here: the browser tests will be skipped (in CI they fail)."
echo "Next step: install Chromium, on Debian with: sudo apt-get install chromium"
